import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../node/run/load-config.ts'
import type { JobEnd } from '../../../tools/launch/restarts.ts'
import { folderName } from '../../../train/run/checkpoint/description.ts'
import { main } from '../program/main.ts'
import { type Fake, fakeIo } from '../testing/fake.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-launch-'))
  writeFileSync(join(folder, 'mine.yaml'), 'preset: tiny\ntrain: { steps: 5 }\n')
  writeFileSync(join(folder, 'hosts'), 'a slots=2\nb slots=2\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const openmpi = 'mpirun (Open MPI) 5.0.7\n'
const mpich = 'HYDRA build details:\n    Version: 4.2.1\n'

/** A run of `tiny` with checkpoints of these steps, which have no tensors. */
async function storedRun(name: string, ...steps: number[]): Promise<string> {
  const run = join(folder, name)
  mkdirSync(run)
  for (const step of steps) {
    const checkpoint = join(run, 'checkpoints', folderName(step))
    mkdirSync(checkpoint, { recursive: true })
    const state = JSON.stringify({ step, files: {} })
    writeFileSync(join(checkpoint, 'state.json'), state)
    const sum = createHash('sha256').update(state).digest('hex')
    writeFileSync(join(checkpoint, 'SHA256SUMS'), `${sum}  state.json\n`)
  }
  writeFileSync(join(run, 'config.json'), JSON.stringify(await loadConfig('tiny', [])))
  return run
}

type Settings = Parameters<typeof fakeIo>[0]

/** Runs `choir launch` on a machine where `mpirun` is Open MPI, and `mpirun.mpich` is beside it. */
async function launched(args: readonly string[], settings: Settings = {}) {
  const fake = fakeIo({
    runProgram: ([file]) =>
      file === 'mpirun' || file === 'mpirun.mpich'
        ? { code: 0, text: file === 'mpirun' ? openmpi : mpich }
        : { code: null, text: '' },
    ...settings,
  })
  const code = await main(['launch', ...args], fake.io)
  return { code, out: fake.stdout.text, err: fake.stderr.text, fake }
}

const eightCores = ['--cores', '8']
/** `tiny` has a batch of 4 sequences, too few for more ranks. */
const largeBatch = ['--set', 'train.batch=16']
const jobs = (fake: Fake) => fake.calls.filter(({ name }) => name === 'startJob').map(({ args }) => args)

describe('the command of mpirun', () => {
  test('has slots, cores and threads that agree, for Open MPI', async () => {
    const { code, out, err } = await launched([
      ...['train', 'tiny', '--hosts', 'a:4,b:4', ...eightCores, ...largeBatch, '--print'],
    ])
    expect([code, err]).toEqual([0, ''])
    expect(out).toBe(
      'mpirun --host a:4,b:4 -n 8 --map-by slot:PE=2 --bind-to core ' +
        '/usr/bin/node /opt/choir/bin/choir.js train tiny --out runs/tiny --set train.batch=16 --threads 2\n',
    )
  })

  test('has the options of MPICH, which is found beside Open MPI', async () => {
    const args = ['train', 'tiny', '--hosts', 'a:4,b:4', ...eightCores, ...largeBatch, '--mpi', 'mpich', '--print']
    expect((await launched(args)).out).toMatch(/^mpirun\.mpich -hosts a:4,b:4 -n 8 -bind-to core:2 \/usr\/bin\/node /)
  })

  test('passes on options of the training, quoted for the shell', async () => {
    const { out } = await launched([
      ...['train', join(folder, 'mine.yaml'), '--ranks', '1', '--threads', '1', '--print', '--json', '--no-sample'],
      ...['--out', join(folder, "it's $x"), '--set', 'data.source=my text.txt', '--math', 'bf16'],
    ])
    expect(out).toContain(
      `train ${folder}/mine.yaml --out '${folder}/it'\\''s $x' --set 'data.source=my text.txt' --math bf16 ` +
        '--threads 1 --json --no-sample\n',
    )
  })

  test('passes on the weights of another run, and changed settings of a run that is resumed', async () => {
    const run = await storedRun('stored')
    const place = ['--ranks', '1', '--threads', '1', '--print']
    const from = ['--from', run, '--checkpoint', '20', '--freeze', '*.router', '--set', 'train.steps=7']
    expect((await launched(['train', ...from, '--out', 'x', ...place])).out).toContain(
      `choir.js train --out x --from ${run} --checkpoint 20 --set train.steps=7 --freeze '*.router' --threads 1\n`,
    )
    const resume = ['--resume', run, '--data', 'elsewhere', '--set', 'train.steps=7']
    expect((await launched(['train', ...resume, ...place])).out).toContain(
      `choir.js train --resume ${run} --data elsewhere --set train.steps=7 --threads 1\n`,
    )
  })

  test('goes back to an earlier checkpoint of a run that is resumed, if there is one', async () => {
    const run = await storedRun('back', 10, 20)
    const resume = ['train', '--resume', run, '--ranks', '1', '--threads', '1', '--print']
    expect((await launched([...resume, '--checkpoint', '10', '--json'])).out).toContain(
      `choir.js train --resume ${run} --checkpoint 10 --threads 1 --json\n`,
    )
    for (const [more, message] of [
      [['--checkpoint', '12'], `invalid checkpoint: 12 (${run} has those of steps 10, 20)`],
      [['--checkpoint', '10', '--steps', '5'], 'invalid --resume: no step is left to train from step 10 '],
      [['--steps', '12'], 'no step is left to train from step 20 '],
    ] as const) {
      const { code, out, err } = await launched([...resume, ...more])
      expect([code, out, err]).toEqual([2, '', expect.stringContaining(message)])
    }
    const slurm = ['--slurm', '--ranks-per-node', '1', '--threads', '1']
    const { code, out, err } = await launched(['train', '--resume', run, '--checkpoint', '10', ...slurm])
    expect([code, out, err]).toEqual([2, '', expect.stringContaining('not with --resume and --slurm')])
    expect(err).toContain(`--fork ${run} --checkpoint 10`)
  })

  test('has variables of Open MPI for root, and a note with the reason; MPICH needs no variables', async () => {
    const args = ['train', 'tiny', '--ranks', '1', '--print']
    const { out, err } = await launched(args, { isRoot: true })
    expect(out).toMatch(/^OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -n 1 /)
    expect(err).toContain('running as root')
    const other = await launched([...args, '--mpi', 'mpich'], { isRoot: true })
    expect([other.out.startsWith('mpirun.mpich -n 1 '), other.err]).toEqual([true, ''])
  })

  test('passes variables of Choir to ranks on other hosts', async () => {
    const { out } = await launched(['train', 'tiny', '--ranks', '1', '--print'], {
      env: { CHOIR_DNNL: 'off', HOME: '/' },
    })
    expect(out).toContain(' -x CHOIR_DNNL /usr/bin/node')
  })

  test('takes threads from --threads, the configuration, or the cores', async () => {
    const args = ['train', 'tiny', '--ranks', '2', ...eightCores, '--print']
    expect((await launched(args)).out).toContain('slot:PE=4 ')
    expect((await launched([...args, '--set', 'runtime.threads=3'])).out).toContain('slot:PE=3 ')
    expect((await launched([...args, '--set', 'runtime.threads=3', '--threads', '1'])).out).toContain('slot:PE=1 ')
  })

  test('takes hosts from a host file, and ranks from the devices of a cluster', async () => {
    const file = await launched(['train', 'tiny', '--hostfile', join(folder, 'hosts'), ...eightCores, '--print'])
    expect(file.out).toContain('--host a:2,b:2 -n 4 --map-by slot:PE=4')
    const cluster = ['--cluster', 'v100-16', '--hosts', 'a,b', ...eightCores, ...largeBatch]
    expect((await launched(['train', 'tiny', ...cluster, '--print'])).out).toContain('--host a:8,b:8 -n 16 ')
  })

  test('comes with notes about oversubscribed cores and about groups that span hosts', async () => {
    const many = await launched(['train', 'tiny', '--ranks', '4', '--cores', '2', '--oversubscribe', '--print'])
    expect(many.out).toContain('-n 4 --bind-to none --oversubscribe ')
    expect(many.err).toContain('ranks share cores')
    const wide = ['--hosts', 'a:2,b:2', '--set', 'parallel.expert=4', ...eightCores]
    expect((await launched(['train', 'tiny', ...wide, '--print'])).err).toContain('groups of 4 ranks span hosts')
  })
})

test.each<[string[], string]>([
  [['trian', 'tiny'], 'invalid command: "trian" (expected train or study)'],
  [['train', '--ranks', '1'], "missing argument 'config'"],
  [['train', 'nowhere.yaml', '--ranks', '1'], 'no such file: "nowhere.yaml"'],
  [['train', 'tiny'], 'missing --ranks'],
  [['train', 'tiny', '--ranks', '3', '--cores', '2'], 'invalid --ranks: 3 (this machine has 2 slots'],
  [['train', 'tiny', '--ranks', '6', '--cores', '8', '--set', 'parallel.expert=4'], 'a multiple of parallel.expert 4'],
  [['train', 'tiny', '--ranks', '3', '--cores', '8', '--set', 'parallel.expert=3'], 'must divide model.moe.experts 4'],
  [['train', 'tiny', '--ranks', '2', '--cores', '8', '--set', 'parallel.expert=two'], 'invalid parallel.expert: "two"'],
  [['train', 'tiny', '--hosts', 'a:x'], 'invalid --hosts: "a:x"'],
  [['train', 'tiny', '--hosts', 'a:1', '--hostfile', 'f'], 'invalid --hostfile: not with --hosts'],
  [['train', 'tiny', '--hostfile', 'nowhere'], 'cannot read --hostfile "nowhere"'],
  [['train', 'tiny', '--cluster', 'v100-16'], 'v100-16 has 2 nodes, this is one (expected as many --hosts as nodes)'],
  [
    ['train', 'tiny', '--ranks', '1', '--time', '1'],
    'invalid --time: not with launch train (expected with launch --slurm',
  ],
  [['train', 'tiny', '--slurm', '--no-bind'], 'invalid --no-bind: not with launch --slurm train'],
  [['train', 'tiny', '--slurm'], 'missing --ranks-per-node'],
  [['train', 'tiny', '--slurm', '--ranks-per-node', '2'], 'missing --threads'],
  [['train', 'tiny', '--slurm', '--ranks-per-node', '2', '--threads', '1', '--time', 'soon'], 'invalid --time: "soon"'],
  [['train', 'tiny', '--slurm', '--ranks-per-node', '4', '--threads', '4', '--cores', '8'], 'invalid --threads: 4'],
  [
    ['train', 'tiny', '--slurm', '--nodes', '64', '--ranks-per-node', '8', '--threads', '1'],
    'invalid train.batch: 4 (expected a multiple of the 512 ranks, which share the batch, such as 512; or use fewer',
  ],
  [['train', 'tiny', '--ranks', '3', '--cores', '8'], 'invalid train.batch: 4 (expected a multiple of the 3 ranks'],
  [
    ['train', 'tiny', '--slurm', '--ranks-per-node', '2', '--threads', '1', '--sbatch=-x'],
    'invalid --sbatch: "-x" (expected an option in its long form, such as --exclusive',
  ],
  [
    ['train', 'tiny', '--slurm', '--ranks-per-node', '2', '--threads', '1', '--sbatch=--nodes=3'],
    'invalid --sbatch: "--nodes=3" (expected an option other than --nodes, which the script sets)',
  ],
  [['train', 'tiny', '--ranks', '1', '--sbatch=--exclusive'], 'invalid --sbatch: not with launch train'],
  [['study', 'm6t', '--out', 'x'], 'expected with --slurm'],
  [['study', 'm6t', '--slurm', '--out', 'x'], 'missing --tasks'],
  [['study', 'm6', '--slurm', '--out', 'x', '--tasks', '2'], 'unknown study "m6"'],
])('%j is wrong usage: exit code 2', async (args, message) => {
  const { code, out, err, fake } = await launched(args)
  expect({ code, err }).toMatchObject({ code: 2, err: expect.stringContaining(message) })
  expect(out).toBe('')
  expect(jobs(fake)).toEqual([])
})

test('without mpirun the message names the package to install', async () => {
  const none = { runProgram: () => ({ code: null, text: '' }) }
  const { code, err } = await launched(['train', 'tiny', '--ranks', '1'], none)
  expect(code).toBe(2)
  expect(err).toContain('no mpirun of Open MPI or MPICH found (install it: "apt-get install openmpi-bin"')
  expect((await launched(['train', 'tiny', '--ranks', '1', '--mpi', 'mpich'], none)).err).toContain('install mpich"')
  const printed = await launched(['train', 'tiny', '--ranks', '1', '--mpi', 'mpich', '--print'], none)
  expect([printed.code, printed.out.startsWith('mpirun -n 1 -bind-to core:')]).toEqual([0, true])
})

describe('running', () => {
  const args = (name: string, ...more: string[]) => [
    'train',
    'tiny',
    '--ranks',
    '1',
    '--out',
    join(folder, name),
    ...more,
  ]
  const failed: JobEnd = { code: 3, text: 'Process name: [prterun-a-1@1,0]\n Exit code: 3' }

  test('starts the ranks, and shows the command on standard error', async () => {
    const { code, out, err, fake } = await launched(args('run'))
    expect([code, out]).toEqual([0, ''])
    expect(jobs(fake)).toHaveLength(1)
    expect(err).toContain('choir: running mpirun -n 1 ')
  })

  test('continues a failed run with --resume after a pause, and reports the failure', async () => {
    const directory = join(folder, 'failing')
    let attempts = 0
    const { code, err, fake } = await launched(args('failing', '--restarts', '2'), {
      startJob: () => {
        // The second attempt reaches step 20, the last step of tiny.
        mkdirSync(join(directory, 'checkpoints', attempts === 0 ? 'step-00000010' : 'step-00000020'), {
          recursive: true,
        })
        writeFileSync(join(directory, 'config.json'), '{}')
        return { ended: Promise.resolve(++attempts === 1 ? failed : { code: 0, text: '' }), signal: () => {} }
      },
    })
    expect(code).toBe(0)
    const [first, second] = jobs(fake).map(([words]) => (words as string[]).join(' '))
    expect(first).toContain(`train tiny --out ${directory} --threads`)
    expect(second).toContain(`train --resume ${directory} --threads`)
    expect(fake.calls.map(({ name }) => name)).toContain('sleep')
    expect(err).toContain('choir: rank 0: exit code 3 (mpirun ended with exit code 3)\n')
    expect(err).toContain('choir: continuing with 1 rank (restart 1 of 2)\n')
  })

  test('goes back to an earlier checkpoint once: in the first attempt, or in the next if that fails before', async () => {
    const directory = await storedRun('back again', 10, 20)
    const checkpoints = join(directory, 'checkpoints')
    let attempts = 0
    const more = ['--checkpoint', '10', '--restarts', '3', '--threads', '1', '--ranks', '1']
    const { code, fake } = await launched(['train', '--resume', directory, ...more], {
      startJob: () => {
        attempts++
        // The second attempt goes back, and comes again to a checkpoint of the step that it has set aside.
        if (attempts === 2) {
          renameSync(join(checkpoints, 'step-00000020'), join(checkpoints, 'step-00000020.aside'))
          mkdirSync(join(checkpoints, 'step-00000020'))
        }
        return { ended: Promise.resolve(attempts < 3 ? failed : { code: 0, text: '' }), signal: () => {} }
      },
    })
    expect(code).toBe(0)
    const commands = jobs(fake).map(([words]) => (words as string[]).slice((words as string[]).indexOf('train')))
    const back = ['train', '--resume', directory, '--checkpoint', '10', '--threads', '1']
    expect(commands).toEqual([back, back, ['train', '--resume', directory, '--threads', '1']])
  })

  test('fails without the last step of the run, since mpirun may end with 0 after a rank was killed', async () => {
    const directory = join(folder, 'unfinished')
    const { code, err } = await launched(args('unfinished'), {
      startJob: () => {
        mkdirSync(join(directory, 'checkpoints', 'step-00000010'), { recursive: true })
        writeFileSync(join(directory, 'config.json'), '{}')
        return { ended: Promise.resolve({ code: 0, text: '' }), signal: () => {} }
      },
    })
    expect(code).toBe(1)
    expect(err).toContain('mpirun names no rank (mpirun ended with exit code 0 before the last step); continue with: ')
  })

  test('fails without restarts, with exit code 1 and a message that names the rank', async () => {
    const { code, err } = await launched(args('plain'), {
      startJob: () => ({ ended: Promise.resolve(failed), signal: () => {} }),
    })
    expect(code).toBe(1)
    expect(err).toContain('choir: the training failed: rank 0: exit code 3 (mpirun ended with exit code 3)')
  })

  test('sends SIGUSR1 to mpirun at Ctrl-C, waits, and exits with 130; a second Ctrl-C ends it at once', async () => {
    const signals: string[] = []
    const interrupted = (times: number) =>
      launched(args('stopped', '--restarts', '9'), {
        startJob: (_, fake) => {
          let end = (_: JobEnd) => {}
          const ended = new Promise<JobEnd>((resolve) => {
            end = resolve
          })
          setTimeout(() => {
            for (let i = 0; i < times; i++) fake.interrupt()
            end({ code: 130, text: '' })
          }, 5)
          return { ended, signal: (name) => signals.push(name) }
        },
      })
    const once = await interrupted(1)
    expect([once.code, signals, once.fake.exits]).toEqual([130, ['SIGUSR1'], []])
    expect(jobs(once.fake)).toHaveLength(1)
    expect(once.err).toContain('press Ctrl-C again to stop immediately')
    signals.length = 0
    const twice = await interrupted(2)
    expect([signals, twice.fake.exits]).toEqual([['SIGUSR1', 'SIGTERM'], [130]])
  })
})

describe('files', () => {
  test('--write writes the script and prints how to submit it', async () => {
    const file = join(folder, 'job.sh')
    const where = ['--slurm', '--nodes', '2', '--ranks-per-node', '4', '--threads', '8', '--write', file]
    const more = ['--sbatch=--exclusive', '--sbatch=--mem=64G', '--set', 'train.batch=8']
    const { code, out, err } = await launched(['train', 'tiny', ...where, ...more])
    expect([code, out, err]).toEqual([0, '', `choir: submit it with: sbatch ${file}\n`])
    const script = readFileSync(file, 'utf8')
    for (const line of ['--nodes=2', '--ntasks-per-node=4', '--cpus-per-task=8', '--exclusive', '--mem=64G'])
      expect(script).toContain(`\n#SBATCH ${line}\n`)
    expect(script).toContain('--mpi=pmix --cpus-per-task=8 ')
    expect(script).toContain('"$@" --threads 8 &')
  })

  test('a study becomes an array of jobs that join it', async () => {
    const { out } = await launched([
      'study',
      'm6t',
      '--preset',
      'quick',
      '--slurm',
      '--out',
      'my studies',
      '--tasks',
      '8',
      '--threads',
      '4',
      '--jobs',
      '2',
    ])
    expect(out).toContain('\n#SBATCH --array=0-7\n')
    expect(out).toContain('\n#SBATCH --cpus-per-task=8\n')
    expect(out).toContain("study m6t --preset quick --out 'my studies' --join --jobs 2 --threads 4 &\n")
  })

  test('a study is checked as `study` would check it after the wait in a queue', async () => {
    const file = join(folder, 'study.yaml')
    writeFileSync(file, 'base: tiny\nseeds: [1, 2]\narms: { a: {}, b: { model.moe.k: 2 } }\n')
    const out = join(folder, 'new study')
    const script = join(folder, 'study.sh')
    const study = (...more: string[]) =>
      launched(['study', file, '--slurm', '--tasks', '2', '--threads', '1', '--write', script, ...more])
    for (const [more, message] of [
      [['--set', 'train.stps=2'], 'train.stps'],
      [['--data', join(folder, 'nosuch')], 'nosuch'],
      [['--out', file], `invalid --out: "${file}" is a file (expected a folder)`],
      [['--out', join(file, 'sub')], 'is a file (expected a folder)'],
      [['--out', await storedRun('not a study')], 'not a study" is a run'],
    ] as const) {
      const { code, err } = await study('--out', out, ...more)
      expect([code, err]).toEqual([2, expect.stringContaining(message)])
      expect(existsSync(script)).toBe(false)
    }
    expect((await study('--out', out)).code).toBe(0)
    expect([existsSync(script), existsSync(out)]).toEqual([true, false])
  })

  test('with --device webgpu each rank gets a GPU, unless GPUs are asked for', async () => {
    const job = ['train', 'tiny', '--device', 'webgpu', '--steps', '3', '--threads', '1']
    const slurm = async (...more: string[]) =>
      (await launched([...job, '--slurm', '--ranks-per-node', '2', ...more])).out
    const script = await slurm()
    expect(script).toContain('\n#SBATCH --gpus-per-task=1\n')
    expect(script).toMatch(/srun .*--gpus-per-task=1 .* train "\$@"/)
    expect(script).toContain('set -- tiny --out runs/tiny --steps 3 --device webgpu\n')
    expect(await slurm('--launcher', 'mpirun')).toContain('\n#SBATCH --gpus-per-node=2\n')
    expect(await slurm('--sbatch=--gres=gpu:a100:2')).not.toContain('--gpus')
    const study = ['study', 'm6t', '--device', 'webgpu', '--slurm', '--out', 's', '--tasks', '2']
    expect((await launched(study)).out).toContain('\n#SBATCH --gpus=1\n')
    const set = ['study', 'm6t', '--set', 'runtime.device=webgpu', '--slurm', '--out', 's', '--tasks', '2']
    expect((await launched(set)).out).toContain('\n#SBATCH --gpus=1\n')
  })
})
