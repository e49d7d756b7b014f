/**
 * Lines at the bottom of a terminal that are redrawn in place; other text scrolls above them.
 *
 * A terminal that is resized breaks and joins lines, each terminal by its own rules, and its program cannot know where
 * they are afterwards. So for the terminal all of these lines are one long line, broken at its width, and between two
 * drawings the cursor is at its beginning: wherever that is now, everything from there on is ours to clear.
 */
import type { Io } from '../io.ts'
import { fitted, widthOf } from './text-layout.ts'

const CLEAR_BELOW = '\x1b[J'
const HIDE_CURSOR = '\x1b[?25l'
const SHOW_CURSOR = '\x1b[?25h'

/** Columns of terminals that do not know. */
const DEFAULT_COLUMNS = 80

export class LiveLines {
  private readonly io: Io
  private readonly lines: (columns: number) => readonly string[]
  private readonly timer: NodeJS.Timeout
  private readonly onResize = () => this.draw(true)
  private drawn = ''
  private closed = false

  /**
   * Draws the lines, and again when they have changed.
   * @param lines The lines for a terminal of this width; each must be shorter.
   * @param perSecond How often they are looked at.
   */
  constructor(io: Io, lines: (columns: number) => readonly string[], perSecond: number) {
    this.io = io
    this.lines = lines
    io.stdout.write(HIDE_CURSOR)
    this.draw(true)
    // A new width that is not known yet is known at the next immediate.
    this.timer = setInterval(() => setImmediate(() => this.draw(false)), 1000 / perSecond)
    io.stdout.on('resize', this.onResize)
  }

  /** Prints whole lines above. */
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
      // Full rows continue on the next one. The last one needs a column, or the cursor would not come to it.
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
