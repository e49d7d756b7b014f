/** Prints text that stays on the terminal: its lines are broken, not cut. */

import { fitted } from '../../../core/text/columns.ts'
import { printable } from '../../../core/text/printable.ts'
import type { Io, Output } from '../io.ts'

/** Prints text. Lines that are wider than the terminal are broken at spaces. */
export const print = ({ stdout }: Io, text: string): void => void stdout.write(fitted(text, columnsOf(stdout)))

/** Prints a line on standard error, such as a warning. */
export const printNote = ({ stderr }: Io, text: string): void => void stderr.write(printable(`choir: ${text}\n`))

/** Columns of a terminal; Infinity if the output is no terminal or its width is unknown. */
export const columnsOf = ({ isTTY, columns }: Output): number => (isTTY && columns ? columns : Infinity)
