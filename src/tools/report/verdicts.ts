/** Folds long lists of verdicts. The figures of a section show the folded verdicts too. */

const SHOWN = 6

/** The verdicts to show, and the verdicts to fold. One or two verdicts are never folded. */
export function foldedVerdicts(verdicts: readonly string[]): [first: readonly string[], rest: readonly string[]] {
  return verdicts.length > SHOWN + 2 ? [verdicts.slice(0, SHOWN), verdicts.slice(SHOWN)] : [verdicts, []]
}
