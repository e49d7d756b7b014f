import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { failureText, findFailure, type KnownFailure, parseMpirunText } from './failure.ts'
import { parseHosts } from './hosts.ts'
import { type Layout, placeRanks } from './layout.ts'
import { type JobEnd, runWithRestarts, type Supervised } from './restarts.ts'

const layout = placeRanks({ hosts: parseHosts('a:4,b:4'), cores: 8, expert: 4 })

/** What is known after an attempt that failed. */
interface Failure {
  readonly found: KnownFailure
  readonly checkpoint: number
}

interface Attempt {
  readonly layout: Layout
  readonly continued: boolean
}

/** Runs a job whose attempts end as given; further attempts succeed. */
async function run(
  ends: readonly Partial<JobEnd>[],
  settings: { restarts?: number; gone?: string[]; expert?: number; unfinished?: number; failures?: Failure[] },
) {
  const { restarts = 3, gone = [], expert = 4, unfinished = 0, failures = [] } = settings
  const failureNow = () => failures[attempts.length - 1]
  const attempts: Attempt[] = []
  const reports: string[] = []
  const job: Supervised = {
    run: async (now, continued) => {
      attempts.push({ layout: now, continued })
      return { code: 0, text: '', ...ends[attempts.length - 1] }
    },
    begun: async () => true,
    finished: async () => attempts.length > unfinished,
    findFailure: async () => ({ rank: 1, host: 'b', ...failureNow()?.found }),
    checkpoint: async () => failureNow()?.checkpoint ?? 0,
    unreachable: async () => gone,
    pause: async () => {},
    stopped: () => false,
    report: (message) => reports.push(message),
  }
  return {
    outcome: await runWithRestarts(layout, { restarts, parallel: { expert } }, job),
    attempts,
    reports,
  }
}

describe('after a failure', () => {
  test('the run is continued until it succeeds', async () => {
    const { outcome, attempts, reports } = await run([{ code: 1 }, { code: null, signal: 'SIGKILL' }], {})
    expect(outcome).toEqual({ kind: 'done' })
    expect(attempts.map(({ continued }) => continued)).toEqual([false, true, true])
    expect(reports).toEqual([
      'rank 1 (b) (mpirun ended with exit code 1)',
      'continuing with 8 ranks (restart 1 of 3)',
      'rank 1 (b) (mpirun ended with signal SIGKILL)',
      'continuing with 8 ranks (restart 2 of 3)',
    ])
  })

  test('the run is continued if mpirun reports success before its last step', async () => {
    const { outcome, reports } = await run([], { unfinished: 1 })
    expect(outcome).toEqual({ kind: 'done' })
    expect(reports).toEqual([
      'rank 1 (b) (mpirun ended with exit code 0 before the last step)',
      'continuing with 8 ranks (restart 1 of 3)',
    ])
    expect((await run([], { unfinished: 9, restarts: 0 })).outcome).toMatchObject({ kind: 'failed' })
  })

  test('the job fails after the last restart, or at once without restarts', async () => {
    const always = Array.from({ length: 9 }, () => ({ code: 1 }))
    expect((await run(always, { restarts: 2 })).attempts).toHaveLength(3)
    const { outcome, attempts } = await run(always, { restarts: 0 })
    expect(attempts).toHaveLength(1)
    expect(outcome).toEqual({ kind: 'failed', failure: 'rank 1 (b) (mpirun ended with exit code 1)' })
  })

  describe('that follows from what the run computes', () => {
    const always = Array.from({ length: 9 }, () => ({ code: 1 }))
    const failed = (checkpoint: number, reason: string, computed = true): Failure => ({
      found: { reason, ...(computed && { computed }) },
      checkpoint,
    })
    const attemptsAfter = async (...failures: Failure[]) =>
      (await run(always.slice(0, failures.length), { failures, restarts: 9 })).attempts.length

    test('the run is not continued a second time from the same checkpoint', async () => {
      const [first, again] = [failed(40, 'NaN on rank 0 (PID 7)'), failed(40, 'NaN on rank 0 (PID 8)')]
      const { outcome, attempts } = await run(always, { failures: [first, again], restarts: 9 })
      expect(attempts).toHaveLength(2)
      expect(outcome).toEqual({
        kind: 'failed',
        failure:
          'rank 1 (b): NaN on rank 0 (PID 8) (mpirun ended with exit code 1); this is the same error from the same checkpoint as ' +
          'before, so another restart would repeat it',
      })
    })

    test('the run is continued after another error, from a later checkpoint, and after a fault from outside', async () => {
      expect(await attemptsAfter(failed(40, 'no memory'), failed(40, 'another error'))).toBe(3)
      expect(await attemptsAfter(failed(40, 'no memory'), failed(60, 'no memory'))).toBe(3)
      expect(await attemptsAfter(failed(40, 'was killed', false), failed(40, 'was killed', false))).toBe(3)
      const between = failed(40, 'was killed', false)
      expect(await attemptsAfter(failed(40, 'no memory'), between, failed(40, 'no memory'))).toBe(4)
    })
  })

  test('the run goes on without a host that does not answer, in whole groups', async () => {
    const { attempts, reports } = await run([{ code: 1 }], { gone: ['b'] })
    expect(attempts[1]?.layout).toMatchObject({ ranks: 4, hosts: [{ name: 'a', slots: 4 }] })
    expect(reports).toContain('no answer from b')
    expect(reports).toContain('continuing with 4 ranks (restart 1 of 3)')
  })

  test('the job fails if the hosts that are left have no room for a group', async () => {
    const { outcome, attempts } = await run([{ code: 1 }], { gone: ['b'], expert: 8 })
    expect(attempts).toHaveLength(1)
    expect(outcome).toMatchObject({ kind: 'failed', failure: expect.stringContaining('too few slots for groups of 8') })
  })

  test('wrong usage and an interrupt are not repeated', async () => {
    expect(await run([{ code: 2 }], {})).toMatchObject({ outcome: { kind: 'usage' }, attempts: { length: 1 } })
    expect(await run([{ code: 130 }], {})).toMatchObject({ outcome: { kind: 'stopped' }, attempts: { length: 1 } })
  })
})

/** Messages of Open MPI 5.0.7 and MPICH 4.2.1 as they were printed. */
const killed = `prterun noticed that process rank 1 with PID 1653 on node vm exited on
signal 9 (Killed).`
const exited = `prterun detected that one or more processes exited with non-zero status,
thus causing the job to be terminated. The first process to do so was:

   Process name: [prterun-vm-1654@1,1]
   Exit code:    3`
const lost = `PRTE has lost communication with a remote daemon.

  HNP daemon   : [prterun-vm-1694@0,0] on node vm
  Remote daemon: [prterun-vm-1694@0,1] on node nohost

This is usually due to either a failure of the TCP network`
const unknown = `ssh: Could not resolve hostname nohost: Name or service not known
[mpiexec@vm] ui_cmd_cb (mpiexec/pmiserv_pmci.c:51): Launch proxy failed.`

test.each([
  [killed, 'rank 1 (vm, PID 1653): killed by signal 9 (Killed)'],
  [exited, 'rank 1: exit code 3'],
  [lost, 'host nohost: the host does not answer'],
  [unknown, 'host nohost: ssh: Name or service not known'],
  ['=   PID 12 RUNNING AT b\n=   EXIT CODE: 9\n', 'a rank (b, PID 12): exit code 9'],
  ['[mpiexec@vm] control_cb: assert (!closed) failed', 'mpirun names no rank'],
])('messages of mpirun name the rank: %j', (text, expected) => {
  expect(failureText(parseMpirunText(text))).toBe(expected)
})

describe('files of the ranks', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'choir-failure-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))
  const write = (name: string, value: unknown) =>
    writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
  const ranks = {
    ranks: [
      { rank: 0, host: 'a', pid: 7 },
      { rank: 1, host: 'b', pid: 8 },
    ],
  }

  test('the reason that a rank wrote comes before the messages of mpirun', async () => {
    write('failure.json', { rank: 0, host: 'a', pid: 7, reason: 'the disk is full' })
    write('ranks.json', ranks)
    expect(failureText(await findFailure(folder, killed))).toBe('rank 0 (a, PID 7): the disk is full')
  })

  test('ranks.json adds the host and PID of a rank, and the rank of a process', async () => {
    write('ranks.json', ranks)
    expect(failureText(await findFailure(folder, exited))).toBe('rank 1 (b, PID 8): exit code 3')
    expect(failureText(await findFailure(folder, '= PID 8 RUNNING AT b = EXIT CODE: 9'))).toBe(
      'rank 1 (b, PID 8): exit code 9',
    )
  })

  test.each(['{', 'null', '[]', { rank: '1', pid: -1, reason: 3 }])(
    'damaged files count as missing: %j',
    async (value) => {
      write('failure.json', value)
      write('ranks.json', value)
      expect(await findFailure(folder, exited)).toEqual({ rank: 1, reason: 'exit code 3' })
      expect(await findFailure(folder, '')).toEqual({})
    },
  )
})
