/**
 * The command lines of `choir launch`, run by the real mpirun of both libraries with a stand-in for the program.
 *
 * @slow
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { physicalCores } from '../../../engine/native/cores.ts'
import type { MpiLibrary } from '../../../tools/launch/mpirun.ts'
import { runProgram, startJob } from '../job-process.ts'
import { main } from '../program/main.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'
import { findMpirun } from './find-mpirun.ts'

let folder: string
let standIn: string
let agents: string
let remoteShell: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "choir mpirun's "))
  standIn = join(folder, 'stand-in.sh')
  writeFileSync(standIn, program)
  // The agent has a path without spaces, since both libraries split its command at spaces.
  agents = mkdtempSync(join(tmpdir(), 'choir-agent-'))
  remoteShell = join(agents, 'agent.sh')
  writeFileSync(remoteShell, remoteShellText(folder))
  chmodSync(remoteShell, 0o755)
})
afterAll(() => {
  for (const path of [folder, agents]) rmSync(path, { recursive: true, force: true })
})

/**
 * The stand-in for the program. It writes the file `ranks` to the run directory, and `failure.json` before it fails.
 * The value of `data.source` decides what it does when the run begins. A continued run only finishes, unless it began with
 * `repeat`.
 */
const program = `#!/bin/bash
rank=\${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
while [ $# -gt 0 ]; do
  case $1 in
    --out|--resume) run=$2; how=$1; shift;;
    data.*) what=\${1#data.*=}; echo "$1" > "$(dirname "$0")/assignment-$rank";;
    --threads) threads=$2; shift;;
  esac
  shift
done
mkdir -p "$run"
touch "$run/config.json"
echo "rank $rank of \${OMPI_COMM_WORLD_SIZE:-$PMI_SIZE} on $(hostname) with $(nproc) cores and $threads threads, $how" >> "$run/ranks"
trap 'echo "rank $rank stopped" >> "$run/ranks"; sleep 1; exit 130' USR1
if [ "$what" = repeat ]; then touch "$run/repeat"; fi
if [ -e "$run/repeat" ]; then
  if [ "$rank" = 1 ]; then
    echo "{\\"rank\\": 1, \\"host\\": \\"h\\", \\"pid\\": $$, \\"computed\\": true, \\"reason\\": \\"no memory\\"}" > "$run/failure.json"
    exit 3
  fi
  exec sleep 5
fi
if [ "$how" = --out ]; then
  case $what in
    fail) if [ "$rank" = 1 ]; then
        echo "{\\"rank\\": 1, \\"host\\": \\"h\\", \\"pid\\": $$, \\"reason\\": \\"the disk is full\\"}" > "$run/failure.json"
        exit 3
      fi
      exec sleep 5;;
    kill) if [ "$rank" = 1 ]; then kill -9 $$; fi; sleep 5;;
    lose) touch "$(dirname "$0")/gone-b"; exit 4;;
    wait) for i in {1..300}; do sleep 0.1; done;;
  esac
fi
# The last step of tiny.
mkdir -p "$run/checkpoints/step-00000020"
exit 0
`

/** Stands in for ssh: starts a program on "another host", a process with another host name, unless the host is gone. */
const remoteShellText = (folder: string) => `#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1
shift
if [ -e "${folder}/gone-$host" ]; then exit 255; fi
exec unshare --uts bash -c "hostname $host; $*"
`

const cores = physicalCores()
const isRoot = process.getuid?.() === 0
const canUnshare = spawnSync('unshare', ['--uts', 'true']).status === 0

const streams = (fake: Fake) => ({ stdout: fake.stdout, stderr: fake.stderr })

function realIo(env: Record<string, string> = {}): Fake {
  const fake = fakeIo({ isRoot, env: { ...env } })
  return {
    ...fake,
    io: {
      ...fake.io,
      program: ['/bin/bash', standIn],
      runProgram,
      startJob: (words, variables) => startJob(words, { ...env, ...variables }, streams(fake)),
    },
  }
}

describe.each(['openmpi', 'mpich'] as const)('%s', (mpi: MpiLibrary) => {
  const isInstalled = spawnSync('sh', ['-c', `mpirun.${mpi} --version`]).status === 0
  const runOf = (run: string) => join(folder, `${run} of ${mpi}`)
  const ranksOf = (run: string) =>
    readFileSync(join(runOf(run), 'ranks'), 'utf8')
      .trim()
      .split('\n')
      .sort()
  const args = (run: string, ...more: string[]) => [
    'launch',
    'train',
    'tiny',
    '--mpi',
    mpi,
    '--out',
    runOf(run),
    ...more,
  ]

  test.skipIf(!isInstalled)('the printed line runs in a shell: each rank has as many cores as threads', async () => {
    expect(await findMpirun(realIo().io, mpi)).toMatchObject({ library: mpi })
    for (const ranks of new Set([1, cores])) {
      const fake = realIo()
      const words = args(`printed ${ranks}`, '--ranks', String(ranks), '--print', '--set', 'data.source=$HOME "it\'s"')
      expect(await main(words, fake.io)).toBe(0)
      execFileSync('sh', ['-c', fake.stdout.text])
      const threads = Math.floor(cores / ranks)
      expect(ranksOf(`printed ${ranks}`)).toEqual(
        Array.from(
          { length: ranks },
          (_, i) => `rank ${i} of ${ranks} on ${hostname()} with ${threads} cores and ${threads} threads, --out`,
        ),
      )
      expect(readFileSync(join(folder, 'assignment-0'), 'utf8')).toBe('data.source=$HOME "it\'s"\n')
    }
  })

  test.skipIf(!isInstalled)('more ranks than slots start with --oversubscribe, on all cores', async () => {
    const more = cores + 1
    const batch = ['--set', `train.batch=${4 * more}`]
    expect(await main(args('many', '--ranks', String(more), '--oversubscribe', ...batch), realIo().io)).toBe(0)
    expect(ranksOf('many')).toHaveLength(more)
    expect(ranksOf('many')[0]).toContain(`with ${cores} cores and 1 threads`)
  })

  const two = ['--ranks', '2', ...(cores < 2 ? ['--oversubscribe'] : [])]

  test.skipIf(!isInstalled)('a failed training is continued, and the reason of its rank is printed', async () => {
    const fake = realIo()
    expect(await main(args('fail', ...two, '--restarts', '1', '--set', 'data.source=fail'), fake.io)).toBe(0)
    expect(fake.stderr.text).toMatch(
      /choir: rank 1 \(h, PID \d+\): the disk is full \(mpirun ended with exit code \d+\)\n/,
    )
    expect(fake.stderr.text).toContain('choir: continuing with 2 ranks (restart 1 of 1)')
    expect(ranksOf('fail').filter((line) => line.endsWith('--resume'))).toHaveLength(2)
  })

  test.skipIf(!isInstalled)('an error that the run computes again is not tried a third time', async () => {
    const fake = realIo()
    expect(await main(args('repeat', ...two, '--restarts', '5', '--set', 'data.source=repeat'), fake.io)).toBe(1)
    expect(fake.stderr.text).toMatch(
      /rank 1 \(h, PID \d+\): no memory \(.*\); this is the same error from the same checkpoint as before, so another/,
    )
    expect(fake.stderr.text).toContain('(restart 1 of 5)')
    expect(fake.stderr.text).not.toContain('(restart 2 of 5)')
  })

  // On a busy machine mpirun of Open MPI now and then ends before its report of the killed rank is printed.
  test.skipIf(!isInstalled)('a killed rank ends the training with exit code 1', { retry: 3 }, async () => {
    rmSync(runOf('kill'), { recursive: true, force: true })
    const fake = realIo()
    expect(await main(args('kill', ...two, '--set', 'data.source=kill'), fake.io)).toBe(1)
    const named = mpi === 'openmpi' ? /rank 1 \(\S+, PID \d+\): killed by signal 9/ : /the training failed: /
    expect(fake.stderr.text).toMatch(named)
    expect(fake.stderr.text).toMatch(/continue with: choir launch train --resume '.*' --ranks 2 /)
  })

  test.skipIf(!isInstalled)('Ctrl-C reaches the ranks as SIGUSR1, and each has time to save', async () => {
    const fake = realIo()
    const running = main(args('wait', ...two, '--restarts', '3', '--set', 'data.source=wait'), fake.io)
    await expect.poll(() => existsSync(join(runOf('wait'), 'ranks')) && ranksOf('wait').length).toBe(2)
    await delay(300)
    fake.interrupt()
    expect(await running).toBe(130)
    // Each rank slept for a second after the signal, and mpirun waited for it.
    expect(ranksOf('wait').filter((line) => line.endsWith('stopped'))).toEqual(['rank 0 stopped', 'rank 1 stopped'])
    expect(fake.stderr.text).toContain('choir: stopped; continue with: ')
  })

  test.skipIf(!isInstalled || !canUnshare)('without a host that is gone, the run resumes on another host', async () => {
    const agent = { PRTE_MCA_plm_ssh_agent: remoteShell, HYDRA_LAUNCHER_EXEC: remoteShell }
    rmSync(join(folder, 'gone-b'), { force: true })
    const fake = realIo(agent)
    const hosts = ['--hosts', 'a:1,b:1', '--cores', '1', '--restarts', '2', '--set', 'data.source=lose']
    expect(await main(args('lose', ...hosts), fake.io)).toBe(0)
    expect(fake.stderr.text).toContain('choir: no answer from b\n')
    expect(ranksOf('lose')).toContain('rank 0 of 1 on a with 1 cores and 1 threads, --resume')
  })
})

test('a job has its own process group, and its output appears on the given streams', async () => {
  const fake = realIo()
  const script = 'echo "$(ps -o pgid= -p $$) $$"; echo problem >&2; exit 7'
  const end = await startJob(['bash', '-c', script], {}, streams(fake)).ended
  expect(end).toEqual({ code: 7, text: 'problem\n' })
  const [group, pid] = fake.stdout.text.trim().split(/\s+/)
  expect(group).toBe(pid)
  await expect(startJob(['/nowhere/mpirun'], {}, streams(fake)).ended).rejects.toThrow('ENOENT')
})
