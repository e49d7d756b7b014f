/** Prints text that stays on the terminal: nothing of it is cut. */
import { printable } from '../../../core/text/printable.ts'
import type { Io, Output } from '../io.ts'
import { fitted } from './text-layout.ts'

/** On a terminal, lines that are wider are broken at spaces. */
export const print = ({ stdout }: Io, text: string): void => void stdout.write(fitted(text, columnsOf(stdout)))

/** Prints a line on standard error, such as a warning. */
export const printNote = ({ stderr }: Io, text: string): void => void stderr.write(printable(`choir: ${text}\n`))

/** Columns of a terminal; Infinity if it is none, or does not know. */
export const columnsOf = ({ isTTY, columns }: Output): number => (isTTY && columns ? columns : Infinity)
