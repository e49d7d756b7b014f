/**
 * Lines of JSON for other programs. The names of all fields are in snake_case, as in the files of a run, whatever they
 * are called in the program; docs/events.md lists them.
 */
import type { Io } from './io.ts'

/** Version of the lines. It increases when a field is renamed, removed, or changes its meaning; fields may be added. */
const EVENTS_VERSION = 1

/** Fields whose value keeps the names that it has in a file: settings, results of a study, published rows. */
const verbatim: ReadonlySet<string> = new Set(['config', 'differences', 'run', 'cluster', 'record', 'row'])

const begun = new WeakSet<Io>()

/** Writes one JSON object on a line. The first line of a command also has the field `version`. */
export function writeJson(io: Io, value: object): void {
  io.stdout.write(jsonText(value, !begun.has(io)))
  begun.add(io)
}

/** The line for an object. Numbers that JSON lacks, such as the NaN of a skipped step, become null. */
export function jsonText(value: object, isFirst: boolean): string {
  const { kind, ...fields } = renamed(value, snake) as { kind?: unknown }
  return `${JSON.stringify({ kind, ...(isFirst && { version: EVENTS_VERSION }), ...fields })}\n`
}

/** Objects that a child process has written as lines, with the names that they have in the program. */
export const parseJsonLines = (text: string): object[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const { version: _, ...fields } = renamed(JSON.parse(line), camel) as { version?: unknown }
      return fields
    })

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename))
  // Typed arrays and dates have their own form in JSON.
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      rename(name),
      verbatim.has(name) && typeof field === 'object' ? field : renamed(field, rename),
    ]),
  )
}

/** Names of parts, such as `expert activations` and `all-to-all`, become names of fields too. */
const snake = (name: string): string =>
  name.replace(/(?<=[a-z\d])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[ -]/g, '_')
const camel = (name: string): string => name.replace(/_([a-z\d])/g, (_, letter: string) => letter.toUpperCase())
