/**
 * Generates run directories without training, to measure the dashboard with many and large ones. Losses fall with
 * noise and spikes. All numbers are drawn from seeds, so that two calls write the same files.
 */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import type { RoutingRecord } from '../../src/core/model/routing/statistics.ts'
import { type Random, randomFor } from '../../src/core/random.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import type { TrainRecord } from '../../src/train/step/metrics/records.ts'

/** Writes `count` runs of `lines` steps each: eight configurations, repeated with other seeds. */
export async function makeRuns(folder: string, count: number, lines: number): Promise<void> {
  for (let run = 0; run < count; run++) {
    const seed = Math.floor(run / 8) + 1
    const [k, factor] = [[1, 2, 4, 1][run % 4] as number, run % 8 < 4 ? 1 : 1.5]
    const sets = [`model.moe.k=${k}`, `model.moe.factor=${factor}`, `train.seed=${seed}`, `train.steps=${lines}`]
    const directory = join(folder, `k${k}-c${factor}-${run % 8}-seed-${seed}`)
    await makeRun(directory, await loadConfig('demo', sets), lines, run)
  }
}

async function makeRun(directory: string, config: RunConfig, lines: number, seed: number): Promise<void> {
  await mkdir(directory, { recursive: true })
  await writeConfig(directory, config)
  const random = randomFor(seed, 'metrics')
  const tokens = config.train.batch * config.model.sequence
  await writeLines(join(directory, 'metrics.jsonl'), lines, (line) => {
    const step = line + 1
    const noise = random.uniform() - 0.5
    const record: TrainRecord = {
      kind: 'train',
      step,
      tokens: step * tokens,
      loss: 3 + 5 / (1 + step / 200) + 0.3 * noise + (step % 997 === 0 ? 2 : 0),
      learning_rate: 1e-3 * Math.min(1, step / 100),
      grad_norm: 1 + noise,
      tokens_per_second: 60_000 + 9000 * noise,
      step_ms: 60 + 9 * noise,
      mfu: 0.6 + 0.1 * noise,
      aux_loss: 1.02 + 0.02 * noise,
      z_loss: 4 + noise,
      drop_rate: 0.05 + 0.03 * noise,
      unserved_rate: 0.05 + 0.03 * noise,
      load_cv: 0.3 + 0.1 * noise,
      load_cv_kept: 0.2 + 0.1 * noise,
      dead_experts: 0,
      gate_mean: 0.4 + 0.1 * noise,
      gate_entropy: 2 + noise,
      entropy_share: (2 + noise) / Math.log(config.model.moe?.experts ?? 16),
    }
    return record
  })
}

export interface RoutedSize {
  readonly layers: number
  readonly experts: number
  readonly snapshots: number
}

/** Writes one run with a large routing.jsonl. */
export async function makeRoutedRun(directory: string, { layers, experts, snapshots }: RoutedSize): Promise<void> {
  const sets = [`model.layers=${layers}`, `model.moe.experts=${experts}`, `train.steps=${snapshots * 10}`]
  await makeRun(directory, await loadConfig('demo', sets), 1000, 1)
  // Only 257 different records are drawn and then reused, since drawing every count would take most of the time.
  const random = randomFor(7, 'routing')
  const bodies = Array.from({ length: 257 }, (_, i) => JSON.stringify(routingRecord(random, experts, i)).slice(1))
  await writeLines(join(directory, 'routing.jsonl'), snapshots * layers, (line) => {
    const [snapshot, layer] = [Math.floor(line / layers), line % layers]
    return `{"step":${10 * (snapshot + 1)},"layer":${layer},${bodies[(snapshot * 3 + layer * 7) % bodies.length]}`
  })
}

function routingRecord(random: Random, experts: number, kind: number): Omit<RoutingRecord, 'step' | 'layer'> {
  const [capacity, entropy] = [320, 2 + random.uniform()]
  const tokens = Array.from({ length: experts }, (_, expert) =>
    Math.floor(random.uniform() * 512 * (expert % 17 === kind % 17 ? 0.02 : 1)),
  )
  const kept = tokens.map((count) => Math.min(count, capacity))
  const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0)
  const mean = sum(tokens) / experts
  const spread = Math.sqrt(tokens.reduce((total, count) => total + (count - mean) ** 2, 0) / experts) / mean
  return {
    module: 'ffn',
    capacity,
    tokens_per_expert: tokens,
    kept_per_expert: kept,
    load_cv: spread,
    load_cv_kept: spread * 0.8,
    drop_rate: 1 - sum(kept) / sum(tokens),
    unserved_rate: 1 - sum(kept) / sum(tokens),
    gate_mean: 0.4 + 0.1 * random.uniform(),
    gate_entropy: entropy,
    entropy_share: entropy / Math.log(experts),
    dead_experts: tokens.filter((count) => count === 0).length,
    max_over_mean: Math.max(...tokens) / mean,
  }
}

const writeConfig = (directory: string, config: RunConfig) =>
  writeFile(
    join(directory, 'config.json'),
    JSON.stringify({ version: '0.1.0', created: '2026-01-01T00:00:00Z', ...config }),
  )

async function writeLines(path: string, count: number, lineOf: (line: number) => object | string): Promise<void> {
  const file = createWriteStream(path)
  let text = ''
  for (let line = 0; line < count; line++) {
    const value = lineOf(line)
    text += `${typeof value === 'string' ? value : JSON.stringify(value)}\n`
    if (text.length < 1 << 20 && line < count - 1) continue
    if (!file.write(text)) await once(file, 'drain')
    text = ''
  }
  file.end()
  await once(file, 'finish')
}
