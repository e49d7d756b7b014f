/** Diagnoses a step whose loss or gradient is not finite: finds the tensor and saves the batch. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Batch } from '../data/batches.ts'
import { gatherJson, type Ranks } from '../runtime/ranks.ts'
import type { ParameterStore } from '../step/store.ts'
import type { StepOutcome } from '../step/trainer.ts'
import { writeError } from '../system/disk.ts'

interface Place {
  /** Larger: closer to the cause. */
  readonly order: number
  readonly text: string
}

/**
 * The first non-finite tensor: a parameter, or else the first gradient in backward order, because
 * non-finite values spread from there to all earlier layers. Searches what this rank owns.
 */
function findPlace(store: ParameterStore): Place | undefined {
  const backward = store.units().toReversed()
  const find = (what: 'parameters' | 'gradients') =>
    backward.find((unit) => !unit.arena.floats(unit[what], unit.count).every(Number.isFinite))
  const parameter = find('parameters')
  if (parameter) return { order: store.unitCount + parameter.index, text: `in parameter ${parameter.name}` }
  const gradient = find('gradients')
  return gradient && { order: gradient.index, text: `first in the gradient of ${gradient.name}` }
}

/** Where non-finite values come from, for people; over all ranks. */
export async function findNonFinite(store: ParameterStore, ranks: Ranks | null = null): Promise<string | undefined> {
  const own = findPlace(store)
  if (!ranks) return own?.text
  const all = await gatherJson(ranks, own ?? null)
  const places = all.flatMap((place, rank) => (place ? [{ ...place, rank }] : []))
  const cause = places.toSorted((a, b) => b.order - a.order)[0]
  return cause && `${cause.text}, which rank ${cause.rank} owns`
}

/** Saves the batch in the run directory (on the first rank) and returns a message for the user. */
export async function reportNonFinite(
  directory: string,
  step: number,
  { loss, gradNorm }: StepOutcome,
  batch: Batch,
  store: ParameterStore,
  ranks: Ranks | null = null,
): Promise<string> {
  const where = await findNonFinite(store, ranks)
  const folder = join(directory, 'non-finite')
  const path = join(folder, `step-${String(step).padStart(8, '0')}.json`)
  const facts = { step, loss: String(loss), grad_norm: String(gradNorm), where: where ?? null }
  const saved = { ...facts, tokens: [...batch.tokens], targets: [...batch.targets] }
  if (ranks && ranks.rank > 0) return ''
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(path, `${JSON.stringify(saved)}\n`)
  } catch (error) {
    throw await writeError(`write ${path}`, directory, error, undefined, 'Checkpoints are intact.')
  }
  const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`
  return `step ${step}: the ${what}${where ? `, ${where}` : ''}; no parameter was changed, the batch is in ${path}`
}
