/** Diagnoses a step whose loss or gradient is not finite, and saves its batch. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { Batch } from '../../train/data/batches.ts'
import { findNonFinite, nonFiniteMessage } from '../../train/loop/find-non-finite.ts'
import type { ParameterStore } from '../../train/step/store.ts'
import type { StepOutcome } from '../../train/step/trainer.ts'
import { errorCode, writeError } from '../system/disk.ts'

/** Saves the batch in the run directory (on the first rank) and returns a message for the user. */
export async function reportNonFinite(
  directory: string,
  step: number,
  outcome: StepOutcome,
  batch: Batch,
  store: ParameterStore,
  ranks: Ranks | null = null,
): Promise<string> {
  const { loss, passLosses, gradNorm } = outcome
  const where = await findNonFinite(store, ranks, passLosses)
  const folder = join(directory, 'non-finite')
  const path = join(folder, `step-${String(step).padStart(8, '0')}.json`)
  const message = `${nonFiniteMessage(step, outcome, where)}, the batch is in ${path}`
  if (ranks && ranks.rank > 0) return message
  const facts = { step, loss: String(loss), grad_norm: String(gradNorm), where: where ?? null }
  const saved = { ...facts, tokens: [...batch.tokens], targets: [...batch.targets] }
  try {
    // Not its parent: a run directory that was removed stays so.
    await mkdir(folder).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error
    })
    await writeFile(path, `${JSON.stringify(saved)}\n`)
  } catch (error) {
    throw await writeError(`write ${path}`, directory, error, undefined, 'Checkpoints are intact.')
  }
  return message
}
