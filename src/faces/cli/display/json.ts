/** The display for programs: each event as a line of JSON. */
import type { Io } from '../io.ts'
import { writeJson } from '../json.ts'
import type { Display } from './display.ts'
import { printNote } from './print.ts'

export const jsonDisplay = (io: Io): Display => ({
  event: (event) => writeJson(io, event),
  note: (text) => printNote(io, text),
  close: () => {},
})
