/**
 * Faults of single ranks, with both MPI libraries: the rank at fault is named, checkpoints stay intact, and the run
 * goes on with the same bits.
 *
 * @slow
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { RunInput } from '../../src/core/config/run-config.ts'
import type { Family } from '../../src/engine/world/mpi/library.ts'
import { families, launchers } from '../../src/engine/world/mpi/testing/launch.ts'
import { outcome } from './rank-runs.ts'
import { type ChoirProcess, checkpointsOf, expectKilled, expectSuccess, Workspace } from './support.ts'

vi.setConfig({ testTimeout: 120_000 })

/** Longest time from a fault to the end of the job; a deadline that has to pass is added. */
const END_MS = 10_000
const DEADLINE_S = 6

let workspace: Workspace
/** Run directory of one process. */
let undisturbed: string
beforeAll(async () => {
  workspace = new Workspace()
  undisturbed = workspace.file('undisturbed')
  await expectSuccess(workspace.start('train', workspace.config(input), '--out', undisturbed, '--json'))
}, 60_000)
afterAll(() => workspace.remove())

for (const family of families)
  if (!launchers.has(family)) console.info(`faults of ranks: skipped for ${family}, which is not installed`)

/** Whether there is `prlimit` of Linux, which limits a process that runs. */
const canLimit = spawnSync('prlimit', ['--version']).status === 0
if (!canLimit) console.info('faults of ranks: a failed write is skipped, there is no prlimit')

const canMount = (() => {
  const probe = new Workspace('')
  try {
    return (
      process.platform === 'linux' &&
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'choir', probe.path]).status === 0 &&
      spawnSync('umount', [probe.path]).status === 0
    )
  } finally {
    probe.remove()
  }
})()
if (!canMount) console.info('faults of ranks: full disks are skipped, this user cannot mount a file system')

/** Steps of the whole run, many more than the steps before a fault. */
const STEPS = 50
const input: RunInput = {
  train: {
    batch: 8,
    steps: STEPS,
    evalEvery: STEPS,
    checkpointEvery: 5,
    routingEvery: 1,
    schedule: { kind: 'constant', warmup: 0 },
  },
  parallel: { shards: 4, expert: 2 },
}

interface Roster {
  readonly ranks: readonly { readonly host: string; readonly pid: number }[]
}
const json = (run: string, name: string): unknown => JSON.parse(readFileSync(join(run, name), 'utf8'))
const pidsOf = (run: string): number[] => (json(run, 'ranks.json') as Roster).ranks.map(({ pid }) => pid)
const title = (rank: number, size: number, pid: number): string => `rank ${rank} of ${size} (${hostname()}, PID ${pid})`

let runs = 0
const newRun = (): string => workspace.file(`run-${++runs}`)
const args = (run: string, ...more: string[]): string[] => [
  ...['train', workspace.config(input), '--out', run, '--json', '--deadline', String(DEADLINE_S), ...more],
]

/** Waits for the job to fail. @returns Its standard error. */
async function expectFailure(job: ChoirProcess, limit = END_MS): Promise<string> {
  const begin = performance.now()
  const { code, stderr } = await job.ended
  expect(code, stderr).not.toBe(0)
  expect(performance.now() - begin).toBeLessThan(limit)
  return stderr
}

/** Continues a run after its last checkpoint, for longer than a fault takes; `begun` is the step of that checkpoint. */
function resumeRanks(family: Family, run: string, ranks: number, ...more: string[]) {
  const endless = ['train', '--resume', run, '--json', '--deadline', String(DEADLINE_S), '--set', 'train.steps=3000']
  const begun = Number(checkpointsOf(run).at(-1)?.slice('step-'.length))
  return { begun, job: workspace.startRanks(family, ranks, ...endless, ...more) }
}

/** Finishes a run that had faults, in one process, and compares it with the undisturbed run. */
async function expectSameBits(run: string, ...more: string[]): Promise<void> {
  const finish = ['train', '--resume', run, '--json', '--set', `train.steps=${STEPS}`, ...more]
  await expectSuccess(workspace.start(...finish))
  expect(outcome(run)).toEqual(outcome(undisturbed))
  expect(existsSync(join(run, 'failure.json'))).toBe(false)
}

/**
 * Writes nearly the largest float32 into a tensor of the optimizer, with checksums that match. The newest checkpoint,
 * which is changed, must be one of a single process.
 */
function poison(run: string, tensor: string): void {
  const folder = join(run, 'checkpoints', checkpointsOf(run).at(-1) as string)
  const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
  const name = 'optimizer.safetensors'
  const bytes = readFileSync(join(folder, name))
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, start)) as Record<string, { data_offsets: [number, number] }>
  const [from, to] = (header[tensor] as { data_offsets: [number, number] }).data_offsets
  bytes.writeFloatLE(3e38, start + from)
  const state = json(folder, 'state.json') as { census: Record<string, string> }
  state.census[tensor] = sum(bytes.subarray(start + from, start + to))
  const stateText = Buffer.from(JSON.stringify(state))
  const sums = new Map([
    [name, sum(bytes)],
    ['state.json', sum(stateText)],
  ])
  const lines = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trim().split('\n')
  const changed = lines.map((line) => `${sums.get(line.slice(66)) ?? line.slice(0, 64)}  ${line.slice(66)}\n`)
  writeFileSync(join(folder, name), bytes)
  writeFileSync(join(folder, 'state.json'), stateText)
  writeFileSync(join(folder, 'SHA256SUMS'), changed.join(''))
}

// Each test continues the run that the test before it left.
describe.each(families)('%s', (family) => {
  const here = launchers.has(family)
  let run: string
  beforeAll(() => {
    run = newRun()
  })

  test.skipIf(!here)('a rank that is stopped is named by all ranks that wait for it, also through others', async () => {
    const job = workspace.startRanks(family, 4, ...args(run, '--set', 'train.steps=3000'))
    await job.step(7)
    const pids = pidsOf(run)
    process.kill(pids[0] as number, 'SIGSTOP')
    const stderr = await expectFailure(job, DEADLINE_S * 1000 + END_MS)
    const waits = [...stderr.matchAll(/has waited \d+ s in [\w ]+ for (.*?):/g)].map(([, whom]) => whom)
    expect(waits.length).toBeGreaterThan(0)
    expect(new Set(waits)).toEqual(new Set([`rank 0 (${hostname()}, PID ${pids[0]})`]))
    expect(stderr).toContain('no answer from there; look there for an error or a process that hangs')
    expect(stderr).not.toContain('    at ')
    const { rank, reason } = json(run, 'failure.json') as { rank: number; reason: string }
    expect(rank).toBeGreaterThan(0)
    expect(reason).toContain(`for rank 0 (${hostname()}, PID ${pids[0]})`)
  })

  // The rank ends by itself, as it does with any library.
  if (family === [...launchers.keys()][0])
    test.skipIf(!canLimit)('a rank that cannot write its part of a checkpoint is named', async () => {
      const { begun, job } = resumeRanks(family, run, 2)
      await job.step(begun + 2)
      const pid = pidsOf(run)[1] as number
      // The rank's part of the checkpoint has 350 kB.
      execFileSync('prlimit', ['--pid', String(pid), '--fsize=100000'])
      const stderr = await expectFailure(job)
      expect(stderr).toContain(`choir: ${title(1, 2, pid)}: cannot write checkpoint ${run}/checkpoints/step-`)
      expect(stderr).toContain('EFBIG')
      expect(json(run, 'failure.json')).toMatchObject({ rank: 1, host: hostname(), pid })
      expect(checkpointsOf(run).every((name) => /^step-\d+$/.test(name))).toBe(true)
    })

  // V8 aborts (SIGABRT) when it runs out of memory; the system kills (SIGKILL).
  const signal = family === 'Open MPI' ? 'SIGABRT' : 'SIGKILL'
  test.skipIf(!here)(`a rank that ends by ${signal} is named`, async () => {
    const { begun, job } = resumeRanks(family, run, 4)
    await job.step(begun + 2)
    const pid = pidsOf(run)[2] as number
    process.kill(pid, signal)
    const stderr = await expectFailure(job)
    expect(stderr.match(/rank \d of 4 \(\S+, PID \d+\) was killed/g)).toHaveLength(1)
    if (expectKilled(stderr, title(2, 4, pid)))
      expect(json(run, 'failure.json')).toMatchObject({ rank: 2, host: hostname(), pid })
  })

  test.skipIf(!here)('after all these faults the run has the bits of an undisturbed one', () => expectSameBits(run))
})

// These faults do not depend on the library.
describe.skipIf(launchers.size === 0)('either library', () => {
  const family = [...launchers.keys()][0] as Family

  test.skipIf(!canMount)('a full disk is named, also when a rank is killed on it', async () => {
    const disk = workspace.file('disk')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'choir', disk])
    try {
      const run = join(disk, 'run')
      const stderr = await expectFailure(workspace.startRanks(family, 2, ...args(run)), 60_000)
      expect(stderr).toMatch(/choir: rank \d of 2 \(\S+, PID \d+\): cannot write checkpoint \S+: the disk is full/)
      expect(checkpointsOf(run).every((name) => /^step-\d+$/.test(name))).toBe(true)

      const fill = join(disk, 'fill')
      execFileSync('mount', ['-o', 'remount,size=16m', disk])
      const { begun, job } = resumeRanks(family, run, 2, '--set', 'train.checkpointEvery=3000')
      await job.step(begun + 2)
      const [, pid] = pidsOf(run) as [number, number]
      // The first rank then waits for this one, so that it writes nothing.
      process.kill(pid, 'SIGSTOP')
      spawnSync('dd', ['if=/dev/zero', `of=${fill}`, 'bs=4k'])
      process.kill(pid, 'SIGKILL')
      expectKilled(await expectFailure(job), `choir: ${title(1, 2, pid)}`)
      rmSync(fill)
      await expectSameBits(run, '--set', 'train.checkpointEvery=5')
    } finally {
      execFileSync('umount', [disk])
    }
  })

  test('text that one rank does not see is refused with the name of the rank', async () => {
    const run = newRun()
    const source = `data.source=${basename(workspace.file('corpus.txt'))}`
    const job = workspace.startRanksWith(family, 2, 1, 'cd /', ...args(run, '--set', source))
    const { code, stderr } = await job.ended
    expect(code).toBe(2)
    const [message] = stderr.match(/choir: .*/g) ?? []
    expect(message).toMatch(/^choir: rank 1 of 2 \(\S+, PID \d+\): data\.source: there is no file, folder or corpus/)
    expect(existsSync(join(run, 'config.json'))).toBe(false)
  })

  test('a removed run directory ends the job at the next checkpoint', async () => {
    const run = newRun()
    const later = ['--set', 'train.steps=3000', '--set', 'train.checkpointEvery=60']
    const job = workspace.startRanks(family, 2, ...args(run, ...later))
    await job.step(7)
    // The directory goes at once, while nothing is written into it.
    renameSync(run, `${run}-gone`)
    const stderr = await expectFailure(job)
    expect(stderr).toContain(`cannot write checkpoint into ${run}: it was removed, or is no longer mounted`)
    expect(existsSync(run)).toBe(false)
  })

  test('a parameter that is not finite is reported with ranks, layer and expert', async () => {
    const run = newRun()
    cpSync(undisturbed, run, { recursive: true })
    // A tensor that is not finite would be refused. A large moment makes its parameter not finite in the next step.
    poison(run, 'layers.1.moe.experts.3.up.exp_avg')
    const resume = [
      'train',
      '--resume',
      run,
      '--json',
      '--set',
      `train.steps=${STEPS + 5}`,
      '--set',
      'train.maxNonFinite=1',
    ]
    const stderr = await expectFailure(workspace.startRanks(family, 2, ...resume), 60_000)
    const name = 'layers\\.1\\.moe\\.experts\\.3\\.up \\(layer 1, expert 3\\)'
    expect(stderr).toMatch(new RegExp(`in parameter ${name} of rank 1 \\(${hostname()}, PID \\d+\\); no parameter`))
  })
})
