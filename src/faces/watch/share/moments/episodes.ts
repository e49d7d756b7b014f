/** Episodes: stretches of a series in which a state holds, without flicker at their ends. */
import { LASTS } from './rules.ts'

/** Indices [from, to); `to` is the length of the series if the state held until the end. */
export interface Episode {
  readonly from: number
  readonly to: number
}

/**
 * An episode begins with `LASTS` values in a row for which `begins` holds. It ends before `LASTS` values in a row for
 * which `ends` holds, so that one value between does not cut it in two.
 */
export function episodesOf(
  length: number,
  begins: (at: number) => boolean,
  ends: (at: number) => boolean = (at) => !begins(at),
): Episode[] {
  const found: Episode[] = []
  let from: number | null = null
  let inRow = 0
  for (let at = 0; at < length; at++) {
    inRow = (from === null ? begins(at) : ends(at)) ? inRow + 1 : 0
    if (inRow < LASTS) continue
    const first = at - LASTS + 1
    if (from === null) from = first
    else {
      found.push({ from, to: first })
      from = null
    }
    inRow = 0
  }
  if (from !== null) found.push({ from, to: length })
  return found
}
