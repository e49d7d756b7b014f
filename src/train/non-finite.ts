/** Diagnoses a step whose loss or gradient is not finite: finds the tensor and saves the batch. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Batch } from '../data/batches.ts'
import { expertName } from '../model/parameters.ts'
import type { ParameterStore } from '../step/store.ts'
import type { StepOutcome } from '../step/trainer.ts'
import { writeError } from '../system/disk.ts'

/**
 * The first non-finite tensor: a parameter, or else the first gradient in backward order, because
 * non-finite values spread from there to all earlier layers.
 */
export function findNonFinite(store: ParameterStore): string | undefined {
  const backward = store.specs.toReversed().flatMap(({ name, stacked, shape }) =>
    Array.from({ length: stacked ? (shape[0] as number) : 1 }, (_, e) => ({
      name,
      expert: stacked ? e : null,
      title: stacked ? expertName(name, e) : name,
    })),
  )
  const parameter = backward.find(({ name, expert }) => !store.parameter(name, expert).every(Number.isFinite))
  if (parameter) return `in parameter ${parameter.title}`
  const gradient = backward.find(({ name, expert }) => !store.gradient(name, expert).every(Number.isFinite))
  return gradient && `first in the gradient of ${gradient.title}`
}

/** Saves the batch in the run directory and returns a message for the user. */
export async function reportNonFinite(
  directory: string,
  step: number,
  { loss, gradNorm }: StepOutcome,
  batch: Batch,
  store: ParameterStore,
): Promise<string> {
  const where = findNonFinite(store)
  const folder = join(directory, 'non-finite')
  const path = join(folder, `step-${String(step).padStart(8, '0')}.json`)
  const facts = { step, loss: String(loss), grad_norm: String(gradNorm), where: where ?? null }
  const saved = { ...facts, tokens: [...batch.tokens], targets: [...batch.targets] }
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(path, `${JSON.stringify(saved)}\n`)
  } catch (error) {
    throw await writeError(`write ${path}`, directory, error, undefined, 'Checkpoints are intact.')
  }
  const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`
  return `step ${step}: the ${what}${where ? `, ${where}` : ''}; no parameter was changed, the batch is in ${path}`
}
