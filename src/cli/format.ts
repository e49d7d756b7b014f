/** Numbers as people read them: three significant digits, a unit, and a dash where there is none. */
import { stripVTControlCharacters } from 'node:util'

const none = '–'

/** 950, 12.3k, 4.12 M, 1.38 B. */
export function count(value: number): string {
  return scaled(value, ['', 'k', ' M', ' B', ' T'], 1)
}

/** 12 B, 4.1 kB, 134 MB, 5.54 GB (powers of 1000). */
export function bytes(value: number): string {
  return scaled(value, [' B', ' kB', ' MB', ' GB', ' TB'], 0)
}

/** 15.3 MFLOP, 2.1 GFLOP. */
export function flops(value: number): string {
  return scaled(value, [' FLOP', ' kFLOP', ' MFLOP', ' GFLOP', ' TFLOP', ' PFLOP'], 1)
}

function scaled(value: number, units: readonly string[], unscaledDigits: number): string {
  if (!Number.isFinite(value)) return none
  let scaledValue = Number(value.toPrecision(3))
  let unit = 0
  while (Math.abs(scaledValue) >= 1000 && unit < units.length - 1) {
    scaledValue = Number((scaledValue / 1000).toPrecision(3))
    unit++
  }
  if (unit === 0) return `${Number(value.toFixed(unscaledDigits))}${units[0]}`
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(scaledValue))))
  return `${scaledValue.toFixed(digits)}${units[unit]}`
}

/** 4.31; NaN and infinities as a dash. */
export function fixed(value: number, digits: number): string {
  return Number.isFinite(value) ? value.toFixed(digits) : none
}

/** 0.031 → 3.1%. */
export function percent(share: number, digits = 1): string {
  return Number.isFinite(share) ? `${(100 * share).toFixed(digits)}%` : none
}

/** 1,500. */
export function grouped(value: number): string {
  return value.toLocaleString('en-US')
}

/** 0.4s, 42s, 3m 02s, 1h 05m, 2d 03h. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return none
  if (seconds < 9.95) return `${seconds.toFixed(1)}s`
  const whole = Math.round(seconds)
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  if (whole < 60) return `${whole}s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${two((whole % 3600) / 60)}m`
  return `${Math.floor(whole / 86_400)}d ${two((whole % 86_400) / 3600)}h`
}

/** Columns that a text takes on a terminal, colours aside. */
export function widthOf(text: string): number {
  return [...stripVTControlCharacters(text)].length
}

/** Rows in aligned columns, two spaces between; `align` has a letter a column, `l` or `r`. */
export function table(rows: readonly (readonly string[])[], align: string): string[] {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, widthOf(cell))
    })
  return rows.map((row) =>
    row
      .map((cell, i) => {
        const gap = ' '.repeat((widths[i] ?? 0) - widthOf(cell))
        return align[i] === 'r' ? gap + cell : cell + gap
      })
      .join('  ')
      .trimEnd(),
  )
}

/** Words on lines of at most `width` columns; line breaks of the text stay. */
export function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    let line = ''
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line)
        line = word
      } else line = line === '' ? word : `${line} ${word}`
    }
    return [...lines, line]
  })
}
