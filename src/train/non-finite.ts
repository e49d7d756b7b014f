/**
 * Forensics of a step whose loss or gradient is not finite: which tensor, and the batch that did it.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Batch } from '../data/index.ts'
import { expertName } from '../model/parameters.ts'
import type { ParameterStore } from './store.ts'
import type { StepOutcome } from './trainer.ts'

/** The first parameter whose gradient is not finite, or undefined. */
export function firstNonFinite(store: ParameterStore): string | undefined {
  for (const { name, stacked, shape } of store.specs)
    for (let expert = 0; expert < (stacked ? (shape[0] as number) : 1); expert++)
      if (!store.gradient(name, stacked ? expert : null).every(Number.isFinite))
        return stacked ? expertName(name, expert) : name
  return undefined
}

/** Saves the batch under the run directory and says what was found. */
export async function reportNonFinite(
  directory: string,
  step: number,
  { loss, gradNorm }: StepOutcome,
  batch: Batch,
  store: ParameterStore,
): Promise<string> {
  const tensor = firstNonFinite(store)
  const folder = join(directory, 'non-finite')
  const path = join(folder, `step-${String(step).padStart(8, '0')}.json`)
  await mkdir(folder, { recursive: true })
  await writeFile(
    path,
    `${JSON.stringify({
      step,
      loss: String(loss),
      grad_norm: String(gradNorm),
      tensor: tensor ?? null,
      tokens: [...batch.tokens],
      targets: [...batch.targets],
    })}\n`,
  )
  const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`
  const where = tensor ? `, first in the gradient of ${tensor}` : ''
  return `step ${step}: the ${what}${where}; no parameter was changed, the batch is in ${path}`
}
