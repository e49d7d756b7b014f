/**
 * Compares the ledger of `parallel.ledger`, which counts rows and bytes between ranks, with independent counts: of the
 * routers, of the courier (the thread that calls MPI), and by formula.
 *
 * @slow
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchers, worldCommand } from '../../src/engine/world/mpi/testing/launch.ts'
import type { LedgerRecord, RanksRecord } from '../../src/train/step/metrics/records.ts'
import { metrics, readJsonLines, Workspace } from './support.ts'

const [EXPERT, EXPERTS, WIDTH, LAYERS, STEPS, SHARDS, MICRO] = [2, 4, 32, 2, 3, 4, 2]
/** The largest multiple to which kernels pad the rows of an expert. */
const TILE = 8

let workspace: Workspace
beforeAll(() => {
  workspace = new Workspace()
})
afterAll(() => workspace.remove())

interface Known {
  readonly kept: readonly (readonly (readonly (readonly number[])[])[])[]
  readonly sentBytes: number
}

const program = fileURLToPath(new URL('ledger-rank.mjs', import.meta.url))
const [family] = launchers.keys()

async function run(name: string, size: number, env: Readonly<Record<string, string>>) {
  const directory = workspace.file(name)
  const path = workspace.config({
    model: { moe: { k: 2 } },
    train: { batch: 16, microBatches: MICRO, steps: STEPS, evalEvery: STEPS, evalBatches: 1 },
    parallel: { shards: SHARDS, expert: EXPERT, ledger: true },
  })
  const world = worldCommand(family as 'Open MPI', size, workspace.path)
  const node = [process.execPath, program, path, directory]
  const child = spawn(world.command, [...world.args, ...node], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...world.env, ...env },
  })
  let stderr = ''
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`)
  const known = Array.from(
    { length: size },
    (_, rank) => JSON.parse(readFileSync(join(directory, `rank-${rank}.json`), 'utf8')) as Known,
  )
  const ledger = readJsonLines(join(directory, 'ledger.jsonl')) as unknown as LedgerRecord[]
  const ranks = metrics(directory).filter(({ kind }) => kind === 'ranks') as unknown as RanksRecord[]
  return { known, ledger, ranks }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const pairs = [
  [0, 1],
  [1, 0],
] as const

test.skipIf(!family).each([
  ['with ONNX Runtime alone, in two groups', 4, { CHOIR_DNNL: 'off' }, TILE],
  ['with the engine of this machine, two shards a rank', 2, {}, TILE],
] as const)(
  'rows and bytes equal the counts of routers, of the courier and of the formula, %s',
  { timeout: 120_000 },
  async (name, size, env, tile) => {
    const { known, ledger, ranks } = await run(name, size, env)
    const passes = (SHARDS / size) * MICRO
    expect(ledger).toHaveLength(STEPS * LAYERS * (size / EXPERT))
    for (const { step, layer, module, first_rank: first, rows, bytes } of ledger) {
      expect(module).toBe('ffn')
      for (const [source, destination] of pairs) {
        const counts = (known[first + source] as Known).kept[step - 1] as readonly (readonly (readonly number[])[])[]
        const held = EXPERTS / EXPERT
        const kept = counts.flatMap((pass) => pass[layer]?.slice(destination * held, (destination + 1) * held) ?? [])
        const sent = rows[source]?.[destination] as number
        // Each expert of each pass is padded by itself.
        expect(sent).toBeGreaterThanOrEqual(sum(kept))
        expect(sent).toBeLessThanOrEqual(sum(kept.map((count) => count + tile - 1)))
        expect(sum(kept)).toBeGreaterThan(0)
        // A size takes 8 bytes. Rows and gradients of their results go there; results and gradients of rows come back.
        const back = rows[destination]?.[source] as number
        expect(bytes[source]?.[destination]).toBe(passes * 8 * held + 2 * 4 * WIDTH * (sent + back))
      }
      for (const i of [0, 1]) expect([rows[i]?.[i], bytes[i]?.[i]]).toEqual([0, 0])
    }
    known.forEach(({ sentBytes }, rank) => {
      const own = ledger.filter(({ first_rank: first }) => rank >= first && rank < first + EXPERT)
      expect(sum(own.map(({ first_rank: first, bytes }) => sum(bytes[rank - first] ?? [])))).toBe(sentBytes)
    })
    // The load of a rank is the number of kept assignments to its experts by all ranks of its group, itself included.
    for (const { step, kept_per_rank } of ranks) {
      const load = (rank: number): number => {
        const first = rank - (rank % EXPERT)
        const experts = EXPERTS / EXPERT
        const start = (rank - first) * experts
        const sources = [first, first + 1].map((source) => (known[source] as Known).kept[step - 1] ?? [])
        return sum(
          sources.flatMap((passes) => passes.flatMap((of) => of.map((e) => sum(e.slice(start, start + experts))))),
        )
      }
      expect(kept_per_rank).toEqual(known.map((_, rank) => load(rank)))
    }
    expect(ranks).toHaveLength(STEPS)
  },
)
