/**
 * Lines at the bottom of a terminal that are redrawn in place; other text scrolls above them.
 *
 * A terminal that is resized breaks and joins lines by its own rules, and the program cannot know where the lines are
 * afterwards. So all of these lines are written as one long line, which the terminal breaks at its width, and between
 * two drawings the cursor is at the beginning of the long line. Wherever the cursor is after a resize, everything from
 * there on belongs to these lines and can be cleared.
 */

import { fitted, widthOf } from '../../../core/text/columns.ts'
import type { Io } from '../io.ts'

const CLEAR_BELOW = '\x1b[J'
const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'

/** Columns of a terminal whose width is unknown. */
const DEFAULT_COLUMNS = 80

export class LiveLines {
  private readonly io: Io
  private readonly lines: (columns: number) => readonly string[]
  private readonly timer: NodeJS.Timeout
  private readonly onResize = () => this.draw(true)
  private drawn = ''
  private closed = false

  /**
   * Draws the lines, and draws them again when they have changed.
   * @param lines Returns the lines for a terminal of a given width; each must be shorter than the terminal is wide.
   * @param perSecond Number of times per second that the lines are compared with the drawn ones.
   */
  constructor(io: Io, lines: (columns: number) => readonly string[], perSecond: number) {
    this.io = io
    this.lines = lines
    io.stdout.write(HIDE_CURSOR)
    this.draw(true)
    // Node may not know a new width yet when the timer fires; it does in the next immediate.
    this.timer = setInterval(() => setImmediate(() => this.draw(false)), 1000 / perSecond)
    io.stdout.on('resize', this.onResize)
  }

  /** Prints whole lines above these lines. */
  print(text: string): void {
    this.io.stdout.write(`\r${CLEAR_BELOW}${fitted(text, this.columns())}`)
    this.draw(true)
  }

  /** Removes the lines and restores the terminal. */
  close(): void {
    clearInterval(this.timer)
    this.closed = true
    this.io.stdout.off('resize', this.onResize)
    this.io.stdout.write(`\r${CLEAR_BELOW}${SHOW_CURSOR}`)
  }

  private draw(always: boolean): void {
    if (this.closed) return
    const columns = this.columns()
    const lines = this.lines(columns)
    const rows = lines.map((line, i) => {
      // A line is filled to the width, so that the next one begins a new row. The last line needs at least one column,
      // or the cursor would not move to its row.
      const width = i < lines.length - 1 ? columns : 1
      return line + ' '.repeat(Math.max(0, width - widthOf(line)))
    })
    const text = rows.join('')
    if (text === this.drawn && !always) return
    this.drawn = text
    const up = lines.length > 1 ? `\x1b[${lines.length - 1}A` : ''
    this.io.stdout.write(`\r${text}${CLEAR_BELOW}${up}\r`)
  }

  private columns(): number {
    return this.io.stdout.columns || DEFAULT_COLUMNS
  }
}
