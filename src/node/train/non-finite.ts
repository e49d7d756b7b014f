/**
 * Saves the batch of a step whose loss or gradient is not finite, with all that the step depends on besides parameters
 * and seed, so that the step can be computed again: tokens, targets, and replayed experts (`data.replay`).
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Ranks } from '../../engine/contract/ranks.ts'
import type { SkippedStep } from '../../train/loop/training-loop.ts'
import { nonFiniteBatch } from '../../train/run/non-finite.ts'
import { errorCode, writeError } from '../system/disk.ts'

/** Saves the batch in the run directory (on the first rank) and returns a message that says where it is. */
export async function saveBatch(directory: string, skipped: SkippedStep, ranks: Ranks | null): Promise<string> {
  const { step, outcome, batch, where } = skipped
  const path = join(directory, nonFiniteBatch(step))
  const message = `the batch is in ${path}`
  if (ranks && ranks.rank > 0) return message
  const facts = { step, loss: String(outcome.loss), grad_norm: String(outcome.gradNorm), where: where ?? null }
  const { tokens, targets, experts } = batch
  const replayed = experts && { experts: experts.map((choices) => [...choices]) }
  const saved = { ...facts, tokens: [...tokens], targets: [...targets], ...replayed }
  try {
    // The parent is not created: a run directory that was removed stays removed.
    await mkdir(dirname(path)).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error
    })
    await writeFile(path, `${JSON.stringify(saved)}\n`)
  } catch (error) {
    throw await writeError(`write ${path}`, directory, error, undefined, 'Checkpoints are intact.')
  }
  return message
}
