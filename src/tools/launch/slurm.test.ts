/** @slow */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assert, constantFrom, integer, property, record } from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Layout } from './layout.ts'
import { slurmStudy } from './slurm-study.ts'
import { type SlurmTraining, slurmTraining } from './slurm-train.ts'
import { missingForSlurm, SlurmCluster } from './testing/slurm-cluster.ts'

const layoutOf = (nodes: number, ranksPerHost: number, threads: number): Layout => ({
  hosts: null,
  ranks: nodes * ranksPerHost,
  ranksPerHost,
  threads,
  bound: true,
  oversubscribe: false,
})

const training: SlurmTraining = {
  name: 'demo',
  folder: "/home/me/it's mine",
  nodes: 2,
  layout: layoutOf(2, 4, 8),
  library: 'openmpi',
  launcher: 'srun',
  restarts: 0,
  variables: [],
  program: {
    program: ['/usr/bin/node', '/opt/choir/bin/choir.js'],
    directory: 'my runs/demo',
    start: ['demo', '--out', 'my runs/demo', '--set', 'data.source=$x'],
    resume: ['--resume', 'my runs/demo'],
    options: ['--threads', '8'],
  },
}
const study = {
  name: 'm6t',
  folder: '/home/me',
  tasks: 8,
  jobs: 2,
  threads: 4,
  program: training.program.program,
  study: ['m6t', '--out', 'my studies'],
  restarts: 0,
}

const optionOf = (script: string, name: string) => new RegExp(`^#SBATCH --${name}=(.*)$`, 'm').exec(script)?.[1]

test('tasks, threads and processors of any script agree, and bash can parse it', () => {
  const sizes = record({
    nodes: integer({ min: 1, max: 64 }),
    ranks: integer({ min: 1, max: 16 }),
    threads: integer({ min: 1, max: 16 }),
  })
  assert(
    property(
      sizes,
      constantFrom('srun' as const, 'mpirun' as const),
      constantFrom('openmpi' as const, 'mpich' as const),
      integer({ min: 0, max: 2 }),
      (size, launcher, library, restarts) => {
        const layout = layoutOf(size.nodes, size.ranks, size.threads)
        const script = slurmTraining({ ...training, nodes: size.nodes, layout, launcher, library, restarts })
        expect(Number(optionOf(script, 'nodes')) * Number(optionOf(script, 'ntasks-per-node'))).toBe(layout.ranks)
        expect(optionOf(script, 'cpus-per-task')).toBe(String(size.threads))
        if (launcher === 'srun') expect(script).toContain(`--cpus-per-task=${size.threads} `)
        else
          expect(script).toContain(
            ` -n ${layout.ranks} ${library === 'openmpi' ? `--map-by slot:PE=${size.threads}` : `-bind-to core:${size.threads}`} `,
          )
        if (process.platform !== 'win32')
          expect(spawnSync('bash', ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({
            status: 0,
            stderr: '',
          })
      },
    ),
    { numRuns: 30 },
  )
})

test.each(['90', '90:00', '4:00:00', '1-12', '1-12:30', '2-00:00:00'])('--time %s is a time limit', (time) => {
  expect(optionOf(slurmTraining({ ...training, time }), 'time')).toBe(time)
})

test.each([
  [{ time: '4h' }, 'invalid time: "4h" (expected minutes, '],
  [{ time: '' }, 'invalid time: ""'],
  [{ partition: 'a b' }, 'invalid partition: "a b"'],
  [{ account: 'x\n#SBATCH --uid=0' }, 'invalid account'],
])('%j is refused', (change, message) => {
  expect(() => slurmTraining({ ...training, ...change })).toThrow(message)
})

test('a name with spaces makes a valid job name', () => {
  expect(optionOf(slurmTraining({ ...training, name: 'my run' }), 'job-name')).toBe('my-run')
})

test.skipIf(process.platform === 'win32').each([
  ['an error that follows from what the run computes', '"computed":true,', 2],
  ['any other error', '', 4],
])('with three restarts, %s from the same checkpoint ends the script', (_, computed, attempts) => {
  const folder = mkdtempSync(join(tmpdir(), "choir slurm's "))
  try {
    const failing = `#!/bin/bash
echo attempt >> "$FOLDER/notes"
mkdir -p run/checkpoints/step-00000020
touch run/config.json
echo "{\\"rank\\":1,\\"host\\":\\"a\\",\\"pid\\":$$,$COMPUTED\\"reason\\":\\"NaN on rank 0 (PID $$)\\"}" > run/failure.json
exit 1
`
    writeFileSync(join(folder, 'srun'), failing, { mode: 0o755 })
    const program = { ...training.program, directory: 'run', resume: ['--resume', 'run'] }
    const script = slurmTraining({ ...training, folder, program, restarts: 3 }).replace('sleep 10', 'sleep 0')
    const { status, stderr } = spawnSync('bash', ['-c', script], {
      env: { PATH: `${folder}:${process.env.PATH}`, FOLDER: folder, COMPUTED: computed },
      encoding: 'utf8',
    })
    expect(status).toBe(1)
    expect(readFileSync(join(folder, 'notes'), 'utf8')).toBe('attempt\n'.repeat(attempts))
    expect(stderr.includes('another restart would repeat it')).toBe(computed !== '')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

const missing = process.platform === 'win32' ? 'Windows' : missingForSlurm()
describe.skipIf(missing !== undefined)(`a real Slurm${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  let cluster: SlurmCluster
  beforeAll(async () => {
    cluster = await SlurmCluster.start()
    // This script stands in for choir. It notes the arguments of each rank, and stops on a signal. A continued run
    // succeeds.
    writeFileSync(
      join(cluster.folder, 'choir.sh'),
      `#!/bin/bash
notes=${cluster.folder}/notes
trap 'echo "$SLURM_PROCID stopped" >> $notes; exit 130' USR1 TERM
note() { echo "$SLURM_PROCID $*" >> $notes; }
case "$*" in
  *--resume*|*--short*) note "$@"; exit 0;;
  *--fail*) mkdir -p run; touch run/config.json; note "$@"; exit 3;;
  *study*) if [ -e studies ]; then exit 0; fi; mkdir -p studies;;
esac
mkdir -p run
touch run/config.json
note "$@"
for i in {1..300}; do sleep 0.1; done
exit 1
`,
    )
    chmodSync(join(cluster.folder, 'choir.sh'), 0o755)
  }, 60_000)
  afterAll(() => cluster?.stop(), 60_000)

  const notes = () =>
    existsSync(join(cluster.folder, 'notes')) ? readFileSync(join(cluster.folder, 'notes'), 'utf8') : ''
  const small = (extra: string[] = []): SlurmTraining => ({
    ...training,
    folder: cluster.folder,
    nodes: 1,
    layout: layoutOf(1, cluster.cores, 1),
    library: 'mpich',
    program: {
      program: [join(cluster.folder, 'choir.sh')],
      directory: 'run',
      start: ['demo', '--out', 'run', ...extra],
      resume: ['--resume', 'run'],
      options: ['--threads', '1'],
    },
  })
  /** Submits a script and returns the job's id. */
  function submit(script: string): string {
    for (const name of ['run', 'notes', 'studies']) spawnSync('rm', ['-rf', join(cluster.folder, name)])
    const file = join(cluster.folder, 'job.sh')
    writeFileSync(file, script)
    return cluster.run('sbatch', '--parsable', file)?.trim() ?? ''
  }
  const state = (job: string) => /JobState=(\S+)/.exec(cluster.run('scontrol', 'show', 'job', job) ?? '')?.[1]
  /**
   * Waits until a requeued job has run again. Slurm would wait for two minutes, so the job is asked to start at once.
   */
  const untilRunAgain = (job: string) =>
    cluster.until(() => {
      if (state(job) === 'PENDING') cluster.run('scontrol', 'update', `JobId=${job}`, 'StartTime=now')
      return state(job) === 'COMPLETED'
    })

  test('sbatch --test-only accepts scripts that fit the machine', () => {
    for (const script of [
      slurmTraining({ ...small(), time: '1:00:00' }),
      slurmStudy({ ...study, jobs: 1, threads: 1 }),
    ]) {
      const { status, stderr } = spawnSync('sbatch', ['--test-only'], {
        input: script,
        env: cluster.env,
        encoding: 'utf8',
      })
      expect({ status, stderr }).toMatchObject({ status: 0, stderr: expect.stringContaining('to start at') })
    }
    const tooWide = slurmTraining({ ...small(), layout: layoutOf(1, cluster.cores, 2) })
    expect(spawnSync('sbatch', ['--test-only'], { input: tooWide, env: cluster.env }).status).not.toBe(0)
  })

  test.each([
    ['srun', 'openmpi', 'srun'],
    ['srun', 'mpich', 'srun'],
    ['mpirun', 'openmpi', 'mpirun.openmpi'],
    ['mpirun', 'mpich', 'mpirun.mpich'],
  ] as const)(
    '%s for %s starts every rank once, with the arguments',
    async (launcher, library, program) => {
      if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return
      const script = slurmTraining({ ...small(['--short', 'a b']), launcher, library }).replace(
        ' mpirun -n',
        ` ${program} -n`,
      )
      const root = 'export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\n'
      const job = submit(script.replace('\ncd ', `\n${root}cd `))
      await cluster.until(() => ['COMPLETED', 'FAILED'].includes(state(job) ?? ''))
      expect(state(job)).toBe('COMPLETED')
      const lines = notes().trim().split('\n')
      expect(lines.map((line) => line.replace(/^\d* ?/, ''))).toEqual(
        Array.from({ length: cluster.cores }, () => 'train demo --out run --short a b --threads 1'),
      )
      if (launcher === 'srun') expect(lines.map((line) => line[0]).sort()).toEqual(lines.map((_, i) => String(i)))
    },
    60_000,
  )

  test('with srun each rank of a training on GPUs sees a GPU of its own', async () => {
    const noting = join(cluster.folder, 'gpu.sh')
    writeFileSync(noting, `#!/bin/bash\necho "$CUDA_VISIBLE_DEVICES" >> ${cluster.folder}/notes\n`, { mode: 0o755 })
    const { program, ...rest } = small()
    const job = submit(slurmTraining({ ...rest, program: { ...program, program: [noting] }, gpus: true }))
    await cluster.until(() => ['COMPLETED', 'FAILED'].includes(state(job) ?? ''))
    expect(state(job)).toBe('COMPLETED')
    expect(notes().trim().split('\n').sort()).toEqual(Array.from({ length: cluster.cores }, (_, i) => String(i)))
  }, 60_000)

  test('the warning before the time limit reaches every rank; the job is requeued and continues the run', async () => {
    const job = submit(slurmTraining(small()))
    await cluster.until(() => notes().split('\n').length > cluster.cores)
    // Slurm itself sends this signal before the limit: --signal=B:USR1.
    cluster.run('scancel', '--batch', '--signal=USR1', job)
    await cluster.until(() => state(job) === 'PENDING')
    expect(notes().match(/^\d+ stopped$/gm)).toHaveLength(cluster.cores)
    expect(readFileSync(join(cluster.folder, `demo-${job}.log`), 'utf8')).toContain('goes back into the queue')
    await untilRunAgain(job)
    expect(notes().match(/train --resume run --threads 1$/gm)).toHaveLength(cluster.cores)
  }, 90_000)

  test('with restarts, a failed training is continued in the same job', async () => {
    const job = submit(slurmTraining({ ...small(['--fail']), restarts: 1 }).replace('sleep 10', 'sleep 1'))
    await cluster.until(() => ['COMPLETED', 'FAILED'].includes(state(job) ?? ''))
    expect(state(job)).toBe('COMPLETED')
    expect(notes()).toMatch(/--fail[\s\S]*--resume run/)
  }, 60_000)

  test('a task of a study saves on the warning, is requeued and goes on', async () => {
    const program = [join(cluster.folder, 'choir.sh')]
    const job = submit(slurmStudy({ ...study, folder: cluster.folder, tasks: 1, jobs: 1, threads: 1, program }))
    await cluster.until(() => notes() !== '')
    expect(notes()).toBe('0 study m6t --out my studies --join --jobs 1 --threads 1\n')
    cluster.run('scancel', '--batch', '--signal=USR1', `${job}_0`)
    await cluster.until(() => state(`${job}_0`) === 'PENDING')
    expect(notes()).toContain('stopped')
    await untilRunAgain(`${job}_0`)
  }, 90_000)
})
