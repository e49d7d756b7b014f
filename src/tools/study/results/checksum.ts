/**
 * Checksums of the entries that a study has measured: SHA-256 of an entry's JSON with sorted keys. They find entries
 * that were changed after they were written, by hand or by a bad disk. They do not find forgery, since anyone who
 * changes an entry can also write its checksum.
 */
import { createHash } from 'node:crypto'
import { canonicalJson } from '../../../core/text/json.ts'

/** Checksums computed so far. Entries never change, and all are written to results.json.gz again after every run. */
const known = new WeakMap<object, string>()

export function checksumOf(entry: object): string {
  const sum = known.get(entry) ?? createHash('sha256').update(canonicalJson(entry)).digest('hex')
  known.set(entry, sum)
  return sum
}

/** The entry as it is stored. */
export const withChecksum = <T extends object>(entry: T) => ({ ...entry, checksum: checksumOf(entry) })

/** A stored entry without its checksum, and whether the checksum is right. */
export function checked(stored: Readonly<Record<string, unknown>>): {
  readonly entry: object
  readonly isIntact: boolean
} {
  const { checksum, ...entry } = stored
  return { entry, isIntact: checksum === checksumOf(entry) }
}
