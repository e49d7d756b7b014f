/** Made-up records of runs. */
import type { EvalRecord } from '../../../train/step/metrics/records.ts'
import type { FinishedRun } from '../contract.ts'
import { NUMERICS } from '../grid/numerics.ts'
import { describeMachine } from '../results/record.ts'
import type { TrainJob } from '../runs/job.ts'

export const heldOut: EvalRecord = {
  kind: 'eval',
  step: 20,
  tokens: 2560,
  loss: 4.5,
  bits_per_byte: 1.7,
  aux_loss: 1.1,
  z_loss: 2,
  drop_rate: 0.01,
  unserved_rate: 0,
  load_cv: 0.4,
  load_cv_kept: 0.3,
  dead_experts: 0,
  gate_mean: 0.5,
  gate_entropy: 1,
  entropy_share: 0.72,
  evaluated_tokens: 1000,
  capacity: 'eval',
  capacities: {
    train: { loss: 4.512345678, bits_per_byte: 1.712345678, drop_rate: 0.0212345678, unserved_rate: 0.01 },
    eval: { loss: 4.5, bits_per_byte: 1.7, drop_rate: 0.01, unserved_rate: 0 },
    none: { loss: 4.487654321, bits_per_byte: 1.6, drop_rate: 0, unserved_rate: 0 },
  },
}

/** The record that a training job would return. */
export function finishedRun({ key, seed, config, corpus, elsewhere }: TrainJob): FinishedRun {
  return {
    status: 'finished',
    key,
    version: NUMERICS,
    seed,
    config,
    program: 'none',
    machine: describeMachine(),
    corpus,
    parameters: 1e5,
    activeParameters: 5e4,
    tokens: 2560,
    trainFlops: 1e9,
    seconds: 1,
    train: { step: [10, 20], loss: [5, 4.6] },
    evaluations: [{ step: 20, seconds: 1, loss: 4.5, losses: { train: 4.5, eval: 4.5, none: 4.5 } }],
    heldOut,
    elsewhere: Object.fromEntries(Object.keys(elsewhere).map((source) => [source, heldOut])),
    elsewhereCorpora: elsewhere,
    routing: { loadCv: 0.4, loadCvKept: 0.3, dropRate: 0.01, deadExperts: 0 },
    layers: [],
    leak: { train: null, eval: null },
    engine: 'none',
  }
}
