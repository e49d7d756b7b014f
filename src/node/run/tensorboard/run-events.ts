/** Writes a run for TensorBoard: scalars of its records, loads of its experts, and its settings beside its losses. */
import { type RunConfig, runSchema } from '../../../core/config/run-config.ts'
import { loadFields, type RoutingRecord, telling } from '../../../core/model/routing/statistics.ts'
import { capacityScalars } from '../../../train/run/capacity-scalars.ts'
import type { EvalRecord, RanksRecord, TrainRecord } from '../../../train/step/metrics/records.ts'
import { EventWriter } from './event-writer.ts'
import { sessionEnd, sessionStart, settingsOf } from './hparams.ts'

/** Settings that do not belong to a comparison of runs. */
const omitted = /^data\.cache$/

export class RunEvents {
  private readonly writer: EventWriter
  private readonly config: RunConfig

  private constructor(writer: EventWriter, config: RunConfig) {
    this.writer = writer
    this.config = config
  }

  /**
   * Starts an event file, with the settings of the run.
   * @param resumedFrom Step of the checkpoint that is continued; undefined for a new run.
   */
  static async open(directory: string, config: RunConfig, resumedFrom: number | undefined): Promise<RunEvents> {
    const writer = await EventWriter.open(directory, resumedFrom)
    const [settings, others] = [settingsOf(config, omitted), settingsOf(runSchema.parse({}), omitted)]
    writer.hparams(resumedFrom ?? 0, sessionStart(settings, others, Date.now() / 1000))
    return new RunEvents(writer, config)
  }

  get path(): string {
    return this.writer.path
  }

  /**
   * Queues the scalars of a record: `train/loss`, `routing/drop_rate`, `eval/dropless/loss` and so on. Records of a model
   * without experts have none of routing.
   * @throws RunError if an earlier write failed
   */
  record(kind: 'train' | 'eval' | 'ranks', step: number, record: TrainRecord | EvalRecord | RanksRecord): void {
    const values = kind === 'eval' ? { ...record, ...capacityScalars({ ...record }) } : record
    const scalars = Object.entries(telling({ ...values })).flatMap(([name, value]) =>
      name === 'step' || typeof value !== 'number'
        ? []
        : [[`${kind === 'train' && loadFields.has(name) ? 'routing' : kind}/${name}`, value] as const],
    )
    this.writer.scalars(step, Object.fromEntries(scalars))
    if (kind === 'eval' && step === this.config.train.steps) this.writer.hparams(step, [sessionEnd(Date.now() / 1000)])
  }

  /**
   * Queues a histogram such as `expert_load/layer_0_ffn`: the load of each expert, divided by the mean load.
   * @throws RunError if an earlier write failed
   */
  routing({ step, layer, module, tokens_per_expert: loads }: RoutingRecord): void {
    const mean = loads.reduce((sum, load) => sum + load, 0) / loads.length
    if (mean > 0)
      this.writer.histograms(step, { [`expert_load/layer_${layer}_${module}`]: loads.map((load) => load / mean) })
  }

  /** Waits until the operating system has every event. @throws RunError if a write failed */
  flush(): Promise<void> {
    return this.writer.flush()
  }

  /** Writes queued events and closes the file. @throws RunError if a write failed */
  close(): Promise<void> {
    return this.writer.close()
  }
}
