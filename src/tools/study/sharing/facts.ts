/** The facts that processes must have in common to work on one study, and messages about differences. */
import { isDeepStrictEqual } from 'node:util'
import { joinWords } from '../../../core/text/numbers.ts'
import type { Specification } from '../grid/specification.ts'
import { NUMERICS } from '../results/numerics.ts'

export interface StudyFacts {
  /** Version of the numerics. */
  readonly numerics: number
  readonly specification: Specification
  /** Hashes of the texts by source and tokens; null while they are being read. */
  readonly texts: Readonly<Record<string, unknown>> | null
}

export const factsOf = (specification: Specification): StudyFacts => ({
  numerics: NUMERICS,
  // The specification as it is read back from a file, without fields that are undefined.
  specification: JSON.parse(JSON.stringify(specification)) as Specification,
  texts: null,
})

/** The reason why two processes cannot work on one study; null if they can. */
export function whyDifferent(ours: StudyFacts, theirs: StudyFacts): string | null {
  if (ours.numerics !== theirs.numerics)
    return `it computes with version ${theirs.numerics} of the numerics, and this program with ${ours.numerics}, so losses differ`
  const [a, b] = [ours.specification, theirs.specification] as const
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])] as (keyof Specification)[]
  const differing = names.filter((name) => !isDeepStrictEqual(a[name], b[name]))
  return differing.length === 0 ? null : `its specification differs in ${joinWords(differing)}`
}

/** The first source whose text differs, quoted; null if no text differs. */
export function textDifference({ texts: ours }: StudyFacts, { texts: theirs }: StudyFacts): string | null {
  const differing = Object.keys(ours ?? {}).find(
    (name) => theirs?.[name] !== undefined && !isDeepStrictEqual(ours?.[name], theirs[name]),
  )
  return differing === undefined ? null : JSON.stringify(differing)
}
