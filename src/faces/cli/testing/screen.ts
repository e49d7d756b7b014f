/**
 * A terminal for tests, which has the lines that a terminal shows after a program has written to it and its user has
 * resized it. It knows only the sequences that displays use: colours, columns, moving up and down, clearing, the
 * cursor. It does not scroll.
 */

/**
 * Ways in which terminals treat rows when the width changes. `cut`: rows are cut, as in xterm. `reflow`: lines are
 * broken and joined, and the cursor stays at its character, as in most terminals. `reflow-others`: as in xterm.js,
 * which leaves the line of the cursor as it is, and moves the cursor by the number of new rows, wherever they are.
 */
export const resizings = ['cut', 'reflow', 'reflow-others'] as const
export type Resizing = (typeof resizings)[number]

interface Row {
  cells: string[]
  /** Whether the row continues the row above. */
  readonly continues: boolean
}

export class Screen {
  private columns: number
  private readonly resizing: Resizing
  private rows: Row[] = [{ cells: [], continues: false }]
  private x = 0
  private y = 0

  constructor(columns: number, resizing: Resizing = 'cut') {
    this.columns = columns
    this.resizing = resizing
  }

  /** Rows without the spaces at their ends. */
  get lines(): string[] {
    return this.rows.map(({ cells }) =>
      Array.from(cells, (cell) => cell ?? ' ')
        .join('')
        .trimEnd(),
    )
  }

  write(text: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal sequences are control characters
    for (const [token, , parameters, command] of text.matchAll(/(\x1b\[([?\d;]*)([A-Za-z]))|[\s\S]/gu)) {
      if (command !== undefined) this.control(command, parameters ?? '')
      else if (token === '\n') this.goTo(this.y + 1, 0)
      else if (token === '\r') this.x = 0
      else this.put(token)
    }
  }

  resize(columns: number): void {
    const before = this.rows
    this.columns = columns
    if (this.resizing !== 'cut') this.reflow(before)
    for (const row of this.rows) row.cells.length = Math.min(row.cells.length, columns)
    this.x = Math.min(this.x, columns - 1)
  }

  private reflow(before: readonly Row[]): void {
    const starts = before.flatMap(({ continues }, y) => (continues ? [] : [y]))
    this.rows = []
    let cursor = this.y
    for (const [i, start] of starts.entries()) {
      const rows = before.slice(start, starts[i + 1])
      const holdsCursor = this.y >= start && this.y < start + rows.length
      if (holdsCursor && this.resizing === 'reflow-others') {
        this.rows.push(...rows)
        continue
      }
      const cells = rows.flatMap((row) => row.cells)
      if (holdsCursor) {
        const place = rows.slice(0, this.y - start).reduce((sum, row) => sum + row.cells.length, 0) + this.x
        cursor = this.rows.length + Math.floor(place / this.columns)
        this.x = place % this.columns
      }
      for (let from = 0; from === 0 || from < cells.length; from += this.columns)
        this.rows.push({ cells: cells.slice(from, from + this.columns), continues: from > 0 })
    }
    this.goTo(this.resizing === 'reflow' ? cursor : this.y + this.rows.length - before.length, this.x)
  }

  private put(character: string): void {
    if (this.x === this.columns) {
      this.goTo(this.y + 1, 0)
      this.rows[this.y] = { cells: this.row.cells, continues: true }
    }
    while (this.row.cells.length < this.x) this.row.cells.push(' ')
    this.row.cells[this.x++] = character
  }

  private control(command: string, parameters: string): void {
    const n = Number(parameters || 1)
    if (command === 'G') this.x = n - 1
    else if (command === 'A') this.goTo(Math.max(0, this.y - n), this.x)
    else if (command === 'B') this.goTo(this.y + n, this.x)
    else if (command === 'J') {
      this.row.cells.length = Math.min(this.row.cells.length, this.x)
      this.rows.length = this.y + 1
    } else if (command === 'K') this.row.cells.length = parameters === '2' ? 0 : Math.min(this.row.cells.length, this.x)
    else if (!['m', 'h', 'l'].includes(command)) throw new Error(`an unknown sequence: ${parameters}${command}`)
  }

  private goTo(y: number, x: number): void {
    while (this.rows.length <= y) this.rows.push({ cells: [], continues: false })
    this.y = y
    this.x = x
  }

  private get row(): Row {
    return this.rows[this.y] as Row
  }
}
