/**
 * Steps whose loss or gradient is not finite, as a run records and reports them. The batch of such a step is kept in the
 * run directory, in a file with the step in its name.
 */

/** Path of the kept batch of a step, relative to the run directory. */
export const nonFiniteBatch = (step: number): string => `non-finite/step-${String(step).padStart(8, '0')}.json`

/** @param where Result of `findNonFinite`. */
export function nonFiniteMessage(
  step: number,
  { loss, gradNorm }: { readonly loss: number; readonly gradNorm: number },
  where: string | undefined,
): string {
  const isLarge = Number.isFinite(loss) && where === undefined && gradNorm === Number.POSITIVE_INFINITY
  const norm = `gradient norm is ${gradNorm}${isLarge ? ', since the square of its gradients is beyond float32' : ''}`
  const what = Number.isFinite(loss) ? norm : `loss is ${loss}`
  return `step ${step}: the ${what}${where ? `, ${where}` : ''}; no parameter was changed`
}
