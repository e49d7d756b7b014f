/** Writes runs without training: files with just the numbers that a test of the dashboard needs. */
import { mkdirSync, writeFileSync } from 'node:fs'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import type { RoutingRecord } from '../../src/core/model/routing/statistics.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import type { RanksRecord, TrainRecord } from '../../src/train/step/metrics/records.ts'
import type { Workspace } from './support.ts'

interface MadeRun {
  /** Assignments over the preset `tiny`. The run has as many steps as `train` has records. */
  readonly sets?: readonly string[]
  /** Fields of each step that are not 1. */
  readonly train?: readonly Partial<TrainRecord>[]
  /** Steps of the configuration, if the run has not done all of them. */
  readonly steps?: number
  /** Held-out losses by step. */
  readonly heldOut?: Readonly<Record<number, number>>
  readonly routing?: readonly MadeRouting[]
  /** Records of ranks by step, for a run on several ranks. */
  readonly ranks?: readonly MadeRanks[]
  /** Hosts of the ranks. */
  readonly hosts?: readonly string[]
}

/** Milliseconds by rank; fields that are not given are 0. */
type MadeRanks = Pick<RanksRecord, 'compute_ms'> & Partial<RanksRecord>

/** Loads of a layer at a step. By default no assignment is dropped. */
type MadeRouting = Pick<RoutingRecord, 'step' | 'layer' | 'tokens_per_expert'> & Partial<RoutingRecord>

/** Writes a finished run. @returns its configuration */
export async function makeRun(workspace: Workspace, name: string, made: MadeRun): Promise<RunConfig> {
  const {
    sets = [],
    train = [{}],
    steps: planned = train.length,
    heldOut = {},
    routing = [],
    ranks = [],
    hosts = [],
  } = made
  const config = await loadConfig('tiny', [...sets, `train.steps=${planned}`])
  const tokens = config.train.batch * config.model.sequence
  const folder = workspace.file('runs', name)
  mkdirSync(folder, { recursive: true })
  const created = '2026-01-01T00:00:00Z'
  writeFileSync(`${folder}/config.json`, JSON.stringify({ version: '0.1.0', created, ...config }))
  const steps = train.map((record, index) => ({ ...plain, step: index + 1, tokens: (index + 1) * tokens, ...record }))
  const ofRanks = ranks.map((record, index) => ranksRecord(index + 1, (index + 1) * tokens, record))
  const lines = steps.flatMap((record, index) => [
    record,
    ...ofRanks.slice(index, index + 1),
    ...evaluationAfter(record, heldOut),
  ])
  writeFileSync(`${folder}/metrics.jsonl`, lines.map(line).join(''))
  const roster = hosts.map((host, rank) => ({ rank, host, pid: 100 + rank }))
  if (hosts.length > 0) writeFileSync(`${folder}/ranks.json`, line({ ranks: roster }))
  if (routing.length > 0) writeFileSync(`${folder}/routing.jsonl`, routing.map(routed).map(line).join(''))
  return config
}

const plain: Omit<TrainRecord, 'step' | 'tokens'> = {
  kind: 'train',
  loss: 1,
  learning_rate: 1,
  grad_norm: 1,
  tokens_per_second: 1,
  step_ms: 1,
  mfu: 1,
  aux_loss: 1,
  z_loss: 1,
  drop_rate: 1,
  unserved_rate: 1,
  load_cv: 1,
  load_cv_kept: 1,
  dead_experts: 1,
  gate_mean: 1,
  gate_entropy: 1,
  entropy_share: 1,
}

/** The evaluation after a step, with the fields that the dashboard needs. */
const evaluationAfter = (
  { step, tokens }: Pick<TrainRecord, 'step' | 'tokens'>,
  heldOut: Readonly<Record<number, number>>,
) => (heldOut[step] === undefined ? [] : [{ kind: 'eval', step, tokens, loss: heldOut[step] }])

function ranksRecord(step: number, tokens: number, made: MadeRanks): RanksRecord {
  const zeroes = made.compute_ms.map(() => 0)
  return {
    kind: 'ranks',
    step,
    tokens,
    step_ms: zeroes,
    all_to_all_ms: zeroes,
    all_reduce_ms: zeroes,
    wait_ms: zeroes,
    waited_for_ms: zeroes,
    compute_max_over_median: 1,
    communication_share: 0,
    wait_share: 0,
    ...made,
  }
}

function routed({ step, layer, tokens_per_expert, ...record }: MadeRouting): RoutingRecord {
  const mean = tokens_per_expert.reduce((sum, tokens) => sum + tokens, 0) / tokens_per_expert.length
  return {
    step,
    layer,
    module: 'ffn',
    capacity: null,
    tokens_per_expert,
    kept_per_expert: tokens_per_expert,
    load_cv: 1,
    load_cv_kept: 1,
    drop_rate: 0,
    unserved_rate: 0,
    gate_mean: 1,
    gate_entropy: 1,
    entropy_share: 1,
    dead_experts: tokens_per_expert.filter((tokens) => tokens === 0).length,
    max_over_mean: Math.max(...tokens_per_expert) / mean,
    ...record,
  }
}

const line = (record: object): string => `${JSON.stringify(record)}\n`

/** [layer][rank][token][choice] */
const choices: Readonly<Record<number, readonly (readonly (readonly number[])[])[]>> = {
  3: [
    [
      [0, 1],
      [0, 2],
      [0, 3],
    ],
    [
      [0, 1],
      [1, 2],
    ],
  ],
  7: [
    [
      [3, 2],
      [3, 1],
      [3, 0],
    ],
    [
      [3, 2],
      [2, 3],
    ],
  ],
}

/** All assignments in the trace of {@link makeTrace}. */
export const traced = Object.entries(choices).flatMap(([layer, ranks]) =>
  ranks.flat(2).map((expert) => ({ layer: Number(layer), expert })),
)

/** Writes a router trace of Megatron-Core with one step and one file per rank. */
export function makeTrace(workspace: Workspace, name: string): void {
  mkdirSync(workspace.file('runs', name), { recursive: true })
  for (const rank of [0, 1]) {
    const lines = Object.entries(choices).map(([layer, ranks]) => {
      const top = ranks[rank] ?? []
      const head = { step: 0, stage: 'pre_dispatch', block: 'decoder', layer: Number(layer), rank }
      return line({ ...head, num_tokens: top.length, topk: 2, top_indices: top })
    })
    writeFileSync(workspace.file('runs', name, `router_trace_rank${rank}.jsonl`), lines.join(''))
  }
}
