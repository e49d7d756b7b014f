/** Writes plain text from words that flow, lines that break, and blocks that are kept as they are. */

export class LineWriter {
  private readonly parts: string[] = []
  private started = false
  /** Number of line breaks before the next text. */
  private breaks = 0
  private space = false
  private pending = ''

  /** Begins a new line with the next text; 2 puts a blank line before it. Before the first text, it does nothing. */
  breakLine(lines: 1 | 2): void {
    this.breaks = Math.max(this.breaks, lines)
    this.space = false
  }

  /** Puts a text, such as the bullet of a list, before the next text, whatever breaks come in between. */
  prefix(text: string): void {
    this.pending = text
  }

  /** Adds the two spaces between the cells of a table, if the line has begun. */
  gap(): void {
    if (this.breaks === 0 && this.started) this.parts.push('  ')
    this.space = false
  }

  /** Adds text in which any white space separates words. A no-break space is a character. */
  words(text: string): void {
    for (const piece of text.split(/([ \t\n\r\f]+)/)) {
      if (piece === '') continue
      if (/^[ \t\n\r\f]/.test(piece)) this.space = true
      else {
        this.begin()
        this.parts.push(piece)
      }
    }
  }

  /** Adds text in which every space and line break counts. */
  verbatim(text: string): void {
    let lines = text.replace(/\r\n?/g, '\n')
    if (this.breaks > 0 || !this.started) lines = lines.replace(/^\n/, '')
    if (lines === '') return
    this.space = false
    this.begin()
    this.parts.push(lines)
  }

  text(): string {
    return this.parts.join('')
  }

  private begin(): void {
    if (this.started && this.breaks > 0) this.parts.push('\n'.repeat(this.breaks))
    else if (this.space && this.started) this.parts.push(' ')
    if (this.pending !== '') this.parts.push(this.pending)
    this.breaks = 0
    this.space = false
    this.pending = ''
    this.started = true
  }
}
