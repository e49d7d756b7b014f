/** Whether a run that is resumed has done more steps than its training is to have: then no step is left to train. */
import type { RunConfig } from '../../core/config/run-config.ts'
import { noStepLeft } from '../../train/run/fork.ts'
import { checkpointOf, checkpointSteps, newestCheckpoint } from './checkpoint/checkpoint.ts'

/**
 * A run at its last step may be resumed: its last evaluation may still be due.
 * @param folder The folder of its checkpoints.
 * @param checkpoint Step of the checkpoint to continue from; undefined for the newest that is intact.
 * @throws UsageError if this checkpoint is of a later step than the last, or does not exist
 */
export async function refuseLaterStep(
  directory: string,
  folder: string,
  checkpoint: number | undefined,
  config: RunConfig,
): Promise<void> {
  const stepBy = async (depth: 'sizes' | 'contents') =>
    (checkpoint === undefined
      ? await newestCheckpoint(folder, () => {}, { depth })
      : await checkpointOf(folder, checkpoint, { depth: 'sizes' })
    )?.step ?? 0
  // Every byte is read only before a refusal: if the newest checkpoint is damaged, an earlier one is continued.
  if ((await stepBy('sizes')) <= config.train.steps) return
  const step = await stepBy('contents')
  if (step > config.train.steps) throw noStepLeft('resume', directory, step, await checkpointSteps(folder), config)
}
