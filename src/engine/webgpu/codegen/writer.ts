/**
 * Writes the body of a WGSL function, line by line. Equal expressions are computed once: `let` gives the same name for
 * the same text, as long as the block is open in which it was computed. All expressions are pure: a kernel reads what it
 * needs before it stores.
 */
export class Writer {
  private lines: string[] = []
  private known: Map<string, string>[] = [new Map()]
  private count = 0

  /** A name for the value of an expression; the expression itself if it is a name or a number. */
  let(expression: string): string {
    if (/^[a-z_]\w*$|^-?\d+(\.\d+)?$/i.test(expression)) return expression
    const key = `let ${expression}`
    const known = this.recall(key)
    if (known !== undefined) return known
    const name = `v${this.count++}`
    this.line(`let ${name} = ${expression};`)
    this.remember(key, name)
    return name
  }

  /** Declares a variable and returns its name. */
  variable(type: string, value: string): string {
    const name = `v${this.count++}`
    this.line(`var ${name}: ${type} = ${value};`)
    return name
  }

  line(text: string): void {
    this.lines.push(`${'  '.repeat(this.known.length)}${text}`)
  }

  /** Writes `head { body }`. Names of the body are unknown after it. */
  block(head: string, body: () => void): void {
    this.line(`${head} {`)
    this.known.push(new Map())
    body()
    this.known.pop()
    this.line('}')
  }

  /** The text that was remembered under a key in an open block, if any. */
  recall(key: string): string | undefined {
    for (let i = this.known.length - 1; i >= 0; i--) {
      const name = this.known[i]?.get(key)
      if (name !== undefined) return name
    }
    return undefined
  }

  /** Remembers a text until the innermost block ends. */
  remember(key: string, text: string): void {
    this.known.at(-1)?.set(key, text)
  }

  get text(): string {
    return this.lines.join('\n')
  }
}
