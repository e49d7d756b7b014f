import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RunConfig } from '../../../core/config/run-config.ts'
import { RunError } from '../../../core/errors.ts'
import { loadConfig } from '../../../node/run/load-config.ts'
import { OccupiedDirectory } from '../../../node/run/occupied-directory.ts'
import { LockedRun } from '../../../node/system/lock.ts'
import type { TrainOptions } from '../../../node/train/options.ts'
import type { StudyOptions } from '../../../tools/study/runs/run-study.ts'
import type { Specification } from '../../../tools/study/specification.ts'
import type { GenerateOptions } from '../../../use/runs/generate.ts'
import { type Fake, fakeIo, withoutDnnl } from '../testing/fake.ts'
import { traceProblems } from '../testing/trace-event-format.ts'
import { main } from './main.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const commands = [
  'train',
  'launch',
  'watch',
  'play',
  'study',
  'eval',
  'score',
  'routing',
  'generate',
  'serve',
  'check',
  'inspect',
  'import',
  'export',
  'plan',
  'worth',
  'bench',
  'devices',
  'prune',
]

function jsonLines(text: string): { kind?: string; [key: string]: unknown }[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

function trainCall(fake: Fake): { config: RunConfig; options: TrainOptions } {
  const [config, options] = fake.calls.find(({ name }) => name === 'train')?.args ?? []
  return { config: config as RunConfig, options: options as TrainOptions }
}

async function storedRun(name: string): Promise<string> {
  const directory = join(folder, name)
  mkdirSync(directory, { recursive: true })
  const config = await loadConfig('tiny', [])
  writeFileSync(join(directory, 'config.json'), JSON.stringify({ version: '0.1.0', ...config }))
  return directory
}

describe('help and usage', () => {
  test.each(commands)('%s --help prints usage and examples on stdout', async (command) => {
    const fake = fakeIo()
    expect(await main([command, '--help'], fake.io)).toBe(0)
    expect(fake.stdout.text).toContain(`Usage: choir ${command}`)
    expect(fake.stdout.text).toMatch(/Examples:\n {2}choir /)
    expect(fake.stdout.text).toContain('--verbose')
    expect(fake.stderr.text).toBe('')
  })

  test('--help lists exactly the commands that exist', async () => {
    const fake = fakeIo()
    expect(await main(['--help'], fake.io)).toBe(0)
    const listed = [...fake.stdout.text.matchAll(/^ {2}(\w+) \[options\]/gm)].map(([, name]) => name)
    expect(listed).toEqual(commands)
  })

  test('devices are listed with the limits that decide which models fit', async () => {
    const fake = fakeIo()
    expect(await main(['devices'], fake.io)).toBe(0)
    expect(fake.stdout.text).toMatch(
      /GeForce[\s\S]*GPU by nvidia[\s\S]*NVIDIA 555\.1[\s\S]*4\.29 GB[\s\S]*2\.15 GB[\s\S]*float16, subgroups\n/,
    )
  })

  test('libraries of other platforms are deleted, and only listed with --dry-run', async () => {
    const dry = fakeIo()
    expect(await main(['prune', '--dry-run'], dry.io)).toBe(0)
    expect(dry.stdout.text).toMatch(/webgpu +30\.0 MB\n +would free +30\.0 MB\n/)
    expect(dry.calls).toEqual([])
    const fake = fakeIo()
    expect(await main(['prune'], fake.io)).toBe(0)
    expect(fake.stdout.text).toMatch(/ freed +30\.0 MB\n/)
    expect(fake.calls).toEqual([
      { name: 'deleteLibraries', args: [[{ package: 'webgpu', paths: ['dist/win32-x64'], bytes: 3e7 }]] },
    ])
  })

  test('--version prints the version of the package', async () => {
    const fake = fakeIo()
    expect(await main(['--version'], fake.io)).toBe(0)
    const manifest = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8'))
    expect(fake.stdout.text).toBe(`${manifest.version}\n`)
  })

  test.each([
    [[], 'Usage: choir'],
    [['trian'], "choir: unknown command 'trian'\n(Did you mean train?)"],
    [['train', '--sett', 'x'], "choir: unknown option '--sett'\n(Did you mean --set?)"],
    [['train', 'tiny', 'demo'], 'choir: too many arguments'],
    [['train', 'dmeo'], 'did you mean "demo"?'],
    [
      ['inspect', 'm6t-1t'],
      'choir: invalid configuration: "m6t-1t" is a preset of choir plan (expected tiny, demo, S, M or base, or a YAML or JSON file; see: choir plan m6t-1t ',
    ],
    [
      ['plan', 'tiny', '--cluster', 'local', '--set', 'runtime.device=webgpu'],
      'choir: invalid runtime.device: "webgpu" (expected "cpu" with --cluster local: no calibration describes a GPU)',
    ],
    ...['--only top-1', '--steps 3', '--shape S', '--out c.json', '--trace t.json', '--profile'].map(
      (given): [string[], string] => [
        ['bench', '--ceilings', ...given.split(' ')],
        `choir: ${given.split(' ')[0]} has no effect with --ceilings, which trains nothing and writes no file`,
      ],
    ),
    [['train', 'tiny', '--set', 'train.steps=0'], 'choir: invalid train.steps: 0 (expected a positive integer)'],
    [['train', 'tiny', '--threads', '0'], 'choir: invalid --threads: "0" (expected a positive integer)'],
    [['watch', '--port', '0x50'], 'choir: invalid --port: "0x50" (expected a port up to 65535, or 0 for any)'],
    [['watch', '--port', '65536'], 'choir: invalid --port: "65536" (expected a port up to 65535, or 0 for any)'],
    [['plan', 'tiny', '--cluster', 'h100-8', '--html', ''], 'choir: invalid --html: "" (expected a path)'],
    [['train', 'tiny', '--out', ''], 'choir: invalid --out: "" (expected a path)'],
    [['bench', '--steps', '0b11'], 'choir: invalid --steps: "0b11" (expected a positive integer)'],
    [['bench', '--steps', '5abc'], 'choir: invalid --steps: "5abc" (expected a positive integer)'],
    [['bench', '--steps', ''], 'choir: invalid --steps: "" (expected a positive integer)'],
    [['bench', '--steps', '1e999'], 'choir: invalid --steps: "1e999" (expected a positive integer)'],
    [['generate', 'x', '--prompt', 'a', '--temperature', 'NaN'], 'choir: invalid --temperature: "NaN" (expected a'],
    [['generate', 'x', '--prompt', 'a', '--top-p', 'Infinity'], 'choir: invalid --top-p: "Infinity" (expected a'],
    [
      ['bench', '--threads', '1e9'],
      'choir: invalid --threads: "1e9" (expected at most 1,024: threads beyond the cores',
    ],
    [['launch', 'train', '--ranks', '1e9'], 'choir: invalid --ranks: "1e9" (expected at most 100,000: no cluster'],
    [['train', 'tiny', '--math', 'fp16'], "choir: option '--math <precision>' argument 'fp16' is invalid."],
    [['generate', 'x', '--prompt', 'a', '--math', 'bf16'], "choir: unknown option '--math'"],
    [['bench', '--trace', 'x', '--only', 'top-1', '--only', 'dropless'], 'choir: invalid --trace: "x" is one file'],
    [['train', '--resume', 'nowhere'], 'choir: no run in "nowhere"'],
    [['train', 'demo', '--resume', 'x'], 'choir: invalid --resume'],
    [
      ['train', '--from', 'y', '--resume', 'x'],
      'own configuration, weights and directory (leave out CONFIG, --from, --fork and',
    ],
    [['train', '--checkpoint', '3'], 'choir: invalid --checkpoint: only with --resume, --from or --fork'],
    [['train', '--resume', 'x', '--fork', 'y'], 'choir: invalid --resume'],
    [['train', '--fork', 'x', '--from', 'y'], 'choir: invalid --fork: not with --from'],
    [['train', '--fork', 'nowhere'], 'choir: invalid --fork: "nowhere" is not a run'],
    [['study', 'm6t', '--search', '--out', 'o'], 'choir: invalid --search: the study has no search'],
    [['train', '--from', 'nowhere'], 'choir: invalid --from: "nowhere" is not a run'],
    [['train', '--data', 'a', '--set', 'data.source=b'], 'invalid --data: "a" (--set data.source=b gives another text'],
    [['train', '--data', 'a', '--simulate-ranks', '2'], 'choir: invalid --simulate-ranks: not with --data'],
    [['launch', 'train', '--from', 'a', '--resume', 'x'], 'choir: invalid --resume'],
    [
      ['generate', 'x', '--prompt', 'a', '--json-schema', 'nowhere.json'],
      'choir: cannot read --json-schema "nowhere.json"',
    ],
    [['generate', 'x', '--prompt', 'a', '--stop', ''], 'choir: invalid --stop: "" (expected text)'],
    [
      ['generate', 'x', '--prompt', 'a', '--checkpoint', 'last'],
      'choir: invalid --checkpoint: "last" (expected a step',
    ],
    [['eval'], "choir: missing required argument 'run'\n(see: choir eval --help)"],
    [['generate', 'x'], "choir: required option '--prompt <text>' not specified (or --message <text>"],
    [['generate', 'x', '--prompt', 'a', '--message', 'b'], 'choir: invalid --message: not with --prompt'],
    [['generate', 'x', '--prompt', 'a', '--system', 'b'], 'choir: invalid --system: not with --prompt'],
    [['generate', 'x', '--system', 'b'], "choir: required option '--prompt <text>' not specified"],
    [['generate', 'x', '--prompt', 'a', '--weights', 'int3'], 'Allowed choices are float32, bf16, int8, int4.'],
    [['generate', 'x', '--prompt', 'a', '--tokens', '1.5'], 'choir: invalid --tokens: "1.5" (expected a positive'],
    [
      ['generate', 'x', '--prompt', 'a', '--temperature', '-1'],
      'choir: invalid --temperature: "-1" (expected a number',
    ],
    [['generate', 'x', '--prompt', 'a', '--top-p', '0'], 'choir: invalid --top-p: "0" (expected a number above 0 and'],
    [['generate', 'x', '--prompt', 'a', '--seed', ''], 'choir: invalid --seed: "" (expected an integer of at least 0)'],
    [['import', 'x'], "choir: required option '--out <run>' not specified"],
    [
      ['import', 'x', '--out', 'y', '--upcycle', 'expert=8'],
      'settings such as experts=8,k=2: experts, k, every, from or',
    ],
    [
      ['import', 'x', '--out', 'y', '--upcycle', 'experts=8'],
      'invalid --upcycle: "experts=8" (expected at least experts',
    ],
    [
      ['import', 'x', '--out', 'y', '--upcycle', 'experts=8,k=1.5'],
      'invalid --upcycle: "k=1.5" (expected an integer of',
    ],
    [
      ['import', 'x', '--out', 'y', '--upcycle', 'experts=8,k=2,noise=-1'],
      '"noise=-1" (expected a number of at least 0',
    ],
    [['bench', '--shape', 'L'], "choir: option '--shape <name>' argument 'L' is invalid."],
    [['bench', '--only', 'top1'], 'did you mean "top-1"?'],
  ])('%j is wrong usage: exit code 2, message on stderr only', async (args, message) => {
    const fake = fakeIo()
    expect(await main(args, fake.io)).toBe(2)
    expect(fake.stderr.text).toContain(message)
    expect(fake.stderr.text).not.toContain('    at ')
    expect(fake.stdout.text).toBe('')
    expect(fake.calls).toEqual([])
  })
})

describe('failures', () => {
  const failing = (error: unknown) =>
    fakeIo({
      operations: {
        evaluateRun: () => Promise.reject(error),
      },
    })

  test('a failed run exits with 1 and one message without a stack', async () => {
    const fake = failing(new RunError('disk full at step 12 (free some space, then --resume)'))
    expect(await main(['eval', 'x', '--json'], fake.io)).toBe(1)
    expect(fake.stderr.text).toBe('choir: disk full at step 12 (free some space, then --resume)\n')
    expect(fake.stdout.text).toBe('')
  })

  test('--verbose adds the stack, before or after the command', async () => {
    for (const args of [
      ['--verbose', 'eval', 'x'],
      ['eval', 'x', '--verbose'],
    ]) {
      const fake = failing(new TypeError('internal: oops'))
      expect(await main(args, fake.io)).toBe(1)
      expect(fake.stderr.text).toMatch(/^choir: TypeError: internal: oops\n {4}at /)
    }
  })

  test('the cause of an error is printed, but only with --verbose if the message is complete', async () => {
    const cause = new Error('ENOSPC: no space left')
    const printed = async (error: Error, ...flags: string[]) => {
      const fake = failing(error)
      await main(['eval', 'x', ...flags], fake.io)
      return fake.stderr.text
    }
    expect(await printed(new Error('internal: oops', { cause }))).toBe(
      'choir: internal: oops\n  caused by: ENOSPC: no space left\n',
    )
    expect(await printed(new RunError('the disk is full', { cause }))).toBe('choir: the disk is full\n')
    expect(await printed(new RunError('the disk is full', { cause }), '--verbose')).toMatch(
      /caused by: Error: ENOSPC: no space left\n {4}at /,
    )
  })

  test('control characters in a message are shown, not obeyed', async () => {
    const fake = failing(new RunError('cannot read a\x1b[2Jb'))
    await main(['eval', 'x'], fake.io)
    expect(fake.stderr.text).toBe('choir: cannot read a\\x1b[2Jb\n')
  })
})

describe('train', () => {
  test('configuration and directory are passed to the operation', async () => {
    const fake = fakeIo()
    const out = join(folder, 'new')
    const args = ['train', 'tiny', '--set', 'train.steps=5', '--set', 'model.moe.k=2', '--threads', '3', '--out', out]
    expect(await main(args, fake.io)).toBe(0)
    const { config, options } = trainCall(fake)
    expect(config).toEqual(await loadConfig('tiny', ['train.steps=5', 'model.moe.k=2', 'runtime.threads=3']))
    expect(options).toMatchObject({ directory: out, resume: false, profile: false })
  })

  test('without a configuration it trains the demo, in a new directory', async () => {
    const fake = fakeIo()
    expect(await main(['train', '--set', 'train.steps=2'], fake.io)).toBe(0)
    const { options } = trainCall(fake)
    expect(options.directory).toMatch(/^runs[\\/]demo(-\d+)?$/)
    expect(existsSync(options.directory)).toBe(false)
  })

  test('a directory that holds a run is not overwritten', async () => {
    const fake = fakeIo()
    expect(await main(['train', 'tiny', '--out', await storedRun('taken')], fake.io)).toBe(2)
    expect(fake.stderr.text).toContain('--resume')
    expect(fake.calls).toEqual([])
  })

  test('--resume uses the configuration of the run, and accepts more steps', async () => {
    const fake = fakeIo()
    const directory = await storedRun('resumed')
    expect(await main(['train', '--resume', directory, '--set', 'train.steps=25'], fake.io)).toBe(0)
    const { config, options } = trainCall(fake)
    expect(config).toEqual(await loadConfig('tiny', ['train.steps=25']))
    expect(options).toMatchObject({ directory, resume: true })
  })

  test('--from takes the settings of the run, and passes the run and the step of its checkpoint', async () => {
    const fake = fakeIo()
    const [source, out] = [await storedRun('source'), join(folder, 'begun-with')]
    const args = ['train', '--from', source, '--checkpoint', 'step-00000020', '--out', out]
    const given = ['--steps', '5', '--data', 'notes', '--freeze', 'embedding', '--freeze', '*.router']
    expect(await main([...args, ...given], fake.io)).toBe(0)
    const { config, options } = trainCall(fake)
    const sets = ['train.steps=5', 'data.source=notes', 'train.freeze=[embedding, "*.router"]']
    expect(config).toEqual(await loadConfig('tiny', sets))
    expect(options).toMatchObject({ directory: out, resume: false, from: { run: source, checkpoint: 20 } })
  })

  test('--json prints events and a summary, one JSON object per line, and nothing else', async () => {
    const fake = fakeIo()
    expect(await main(['train', 'tiny', '--json', '--profile', '--sample'], fake.io)).toBe(0)
    const lines = jsonLines(fake.stdout.text)
    const kinds = lines.map(({ kind }) => kind)
    expect(kinds.slice(0, 3)).toEqual(['prepare', 'start', 'train'])
    expect(kinds.slice(-4)).toEqual(['checkpoint', 'summary', 'profile', 'sample'])
    expect(kinds.filter((kind) => kind === 'train')).toHaveLength(20)
    expect(lines.find(({ kind }) => kind === 'summary')).toMatchObject({ step: 20, interrupted: false })
    expect(fake.stderr.text).toBe('')
  })

  test('without a terminal it prints a line every few seconds, without control characters', async () => {
    const fake = fakeIo()
    await main(['train', 'tiny'], fake.io)
    const text = fake.stdout.text
    expect(text).toBe(stripVTControlCharacters(text))
    // At a second a step, lines are printed for the first step, each fifth after it, and the last.
    expect([...text.matchAll(/^ {2}step +(\d+)\/20/gm)].map(([, step]) => Number(step))).toEqual([1, 6, 11, 16, 20])
    expect(text).toContain('loss  5.900   lr 1.0e-3    12.3k tok/s   MFU 61 %   drop  3.1 %   c_v 0.42   19s left')
    expect(text).toContain(
      'eval  10/20   held-out loss 4.512 (dropless 4.501)   1.712 bits per byte   drop 1.2 %   c_v 0.41',
    )
    expect(text).toContain('4.12 M parameters, 1.50 M active for a token')
    expect(text).toMatch(/bits per byte +1\.712\n/)
    expect(text).not.toContain('continues a prompt')
  })

  test('the log of a new run has a number to compare its bits per byte with, which others do not compute', async () => {
    const log = fakeIo()
    await main(['train', 'tiny'], log.io)
    const lines = log.stdout.text.split('\n')
    const text = lines.findIndex((line) => line.startsWith('  text '))
    expect(lines[text + 1]).toBe('           gzip -9 needs 2.500 bits per byte of the held-out text')
    const json = fakeIo()
    await main(['train', 'tiny', '--json'], json.io)
    const resumed = fakeIo()
    await main(['train', '--resume', await storedRun('compared')], resumed.io)
    for (const other of [json, resumed]) expect(trainCall(other).options.compareWithGzip).toBe(false)
    expect(resumed.stdout.text).not.toContain('gzip')
  })

  test('the demo ends with generated text', async () => {
    const fake = fakeIo()
    await main(['train', 'demo', '--set', 'train.steps=2'], fake.io)
    expect(fake.stdout.text).toContain('│ The people of the United States of the United States\n')
    expect(fake.stdout.text).toMatch(/choir generate runs[\\/]demo\S* --prompt/)
    const without = fakeIo()
    await main(['train', 'demo', '--set', 'train.steps=2', '--no-sample'], without.io)
    expect(without.calls.map(({ name }) => name)).toEqual(['train'])
  })

  test('--profile ends with tables of the time of a step', async () => {
    const fake = fakeIo()
    await main(['train', 'tiny', '--profile'], fake.io)
    expect(trainCall(fake).options.profile).toBe(true)
    expect(fake.stdout.text).toMatch(/^ {2}matmul' +4 +6\.00 +60\.0 % +150 GFLOP\/s +50 %$/m)
    expect(fake.stdout.text).toMatch(/^ {2}JavaScript, and waiting +1\.00 +10\.0 %$/m)
  })

  test('--trace writes the last step for Perfetto, and prints tables only with --profile', async () => {
    const fake = fakeIo()
    const file = join(folder, 'trace', 'step.json')
    expect(await main(['train', 'tiny', '--trace', file], fake.io)).toBe(0)
    expect(trainCall(fake).options.profile).toBe(true)
    expect(traceProblems(JSON.parse(readFileSync(file, 'utf8')))).toEqual([])
    expect(fake.stdout.text).toContain(`${file} (open it at ui.perfetto.dev)`)
    expect(fake.stdout.text).not.toContain('ms a step')
    const asJson = fakeIo()
    await main(['train', 'tiny', '--trace', file, '--json'], asJson.io)
    const last = jsonLines(asJson.stdout.text).slice(-2)
    expect(last).toEqual([expect.objectContaining({ kind: 'summary' }), { kind: 'trace', path: file }])
    expect(last[0]).not.toHaveProperty('trace')
  })

  test('--math sets the precision of the run', async () => {
    const fake = fakeIo()
    await main(['train', 'tiny', '--math', 'bf16'], fake.io)
    expect(trainCall(fake).config.runtime.math).toBe('bf16')
  })

  test('--math f16 is for a GPU; on the CPU it is refused, with what to do', async () => {
    const onGpu = fakeIo()
    await main(['train', 'tiny', '--device', 'webgpu', '--math', 'f16'], onGpu.io)
    expect(trainCall(onGpu).config.runtime).toMatchObject({ device: 'webgpu', math: 'f16' })
    const onCpu = fakeIo()
    expect(await main(['train', 'tiny', '--math', 'f16'], onCpu.io)).toBe(2)
    expect(onCpu.stderr.text).toMatch(
      /invalid runtime\.math: "f16" \(.*"float32" or "bf16".*runtime\.device "webgpu".*\)/,
    )
    expect(onCpu.calls).toEqual([])
  })

  test('the engine is printed before the first step', async () => {
    const fake = fakeIo()
    await main(['train', 'tiny'], fake.io)
    expect(fake.stdout.text).toMatch(/^ {2}engine +oneDNN 3\.7\.2, float32 on 2 threads$/m)
  })

  test('a training takes the next directory if another process just took a free one, unless --out names it', async () => {
    for (const [taken, code] of [
      [new OccupiedDirectory('holds a run'), 2],
      [new LockedRun('in use'), 1],
    ] as const) {
      const tried: string[] = []
      const fake = fakeIo({
        operations: {
          train: (_, { directory }) => {
            tried.push(directory)
            return Promise.reject(tried.length === 1 ? taken : new RunError('reached'))
          },
        },
      })
      expect(await main(['train', 'tiny'], fake.io)).toBe(1)
      expect([tried.length, fake.stderr.text]).toEqual([2, 'choir: reached\n'])
      tried.length = 0
      expect(await main(['train', 'tiny', '--out', join(folder, 'named')], fake.io)).toBe(code)
      expect(tried).toEqual([join(folder, 'named')])
    }
  })

  test('notices and warnings go to stderr, with --json to stdout', async () => {
    const fake = fakeIo({
      operations: {
        train: (_, { onEvent }) => {
          onEvent?.({ kind: 'notice', message: 'no bf16 here' })
          onEvent?.({ kind: 'warning', message: 'step 3 was skipped' })
          return Promise.reject(new RunError('stop'))
        },
      },
    })
    await main(['train', 'tiny', '--json'], fake.io)
    expect(fake.stderr.text).toBe('choir: stop\n')
    expect(jsonLines(fake.stdout.text)).toEqual([
      { kind: 'notice', version: 1, message: 'no bf16 here' },
      { kind: 'warning', message: 'step 3 was skipped' },
    ])
    fake.stdout.text = fake.stderr.text = ''
    await main(['train', 'tiny'], fake.io)
    expect(fake.stderr.text).toBe('choir: no bf16 here\nchoir: step 3 was skipped\nchoir: stop\n')
    expect(fake.stdout.text).toBe('')
  })
})

describe('interruption', () => {
  test('one Ctrl-C finishes the step with a message and exits with 130', async () => {
    const fake = fakeIo({ onStep: (step, { interrupt }) => step === 7 && interrupt() })
    expect(await main(['train', 'tiny', '--out', join(folder, 'stopped')], fake.io)).toBe(130)
    expect(fake.exits).toEqual([])
    expect(fake.stderr.text).toMatch(/^choir: finishing the step .* press Ctrl-C again to stop immediately\n/)
    expect(fake.stderr.text).toContain('stopped after step 7; continue with: choir train --resume')
    expect(fake.calls.map(({ name }) => name)).toEqual(['train'])
  })

  test('a training stopped before its first step has no speed', async () => {
    const fake = fakeIo()
    const { train } = fake.io.operations
    const stopped: typeof train = (config, options) => {
      fake.interrupt()
      return train(config, options)
    }
    const io = { ...fake.io, operations: { ...fake.io.operations, train: stopped } }
    expect(await main(['train', 'tiny'], io)).toBe(130)
    expect(fake.stdout.text).toMatch(/time +0\.0s, to step 0/)
    expect(fake.stdout.text).not.toMatch(/speed|tokens\/s|MFU/)
  })

  test('a second Ctrl-C ends the process immediately with 130', async () => {
    const fake = fakeIo({
      onStep: (step, { interrupt }) => {
        if (step === 7) {
          interrupt()
          interrupt()
        }
      },
    })
    await main(['train', 'tiny'], fake.io)
    expect(fake.exits).toEqual([130])
  })

  test('a signal after the last step changes nothing', async () => {
    const fake = fakeIo({ onStep: (step, { interrupt }) => step === 20 && interrupt() })
    expect(await main(['train', 'tiny'], fake.io)).toBe(0)
  })

  test('a closed pipe stops the training after its step', async () => {
    const fake = fakeIo({ onStep: (step, { breakPipe }) => step === 3 && breakPipe() })
    expect(await main(['train', 'tiny', '--json'], fake.io)).toBe(130)
    expect(fake.stderr.text).toMatch(/^choir: stopped after step 3; .*\n$/)
  })

  test('a training saves when its terminal closes (a closed pipe and an interrupt); a second interrupt ends it', async () => {
    const once = fakeIo({
      onStep: (step, { breakPipe, interrupt }) => {
        if (step !== 3) return
        breakPipe()
        interrupt()
      },
    })
    expect(await main(['train', 'tiny', '--json'], once.io)).toBe(130)
    expect(once.exits).toEqual([])
    const twice = fakeIo({
      onStep: (step, { breakPipe, interrupt }) => {
        if (step !== 3) return
        breakPipe()
        interrupt()
        interrupt()
      },
    })
    await main(['train', 'tiny', '--json'], twice.io)
    expect(twice.exits).toEqual([130])
  })

  test('generation stops after the token under way', async () => {
    const fake = fakeIo({
      operations: {
        async *generate() {
          yield ' one'
          fake.interrupt()
          yield ' two'
          yield ' three'
          return { reason: 'length', tokens: 3, seconds: 1, step: 20 }
        },
      },
    })
    expect(await main(['generate', 'x', '--prompt', 'zero'], fake.io)).toBe(130)
    expect(fake.stdout.text).toBe('zero one two\n')
  })
})

describe('eval, generate, inspect, bench', () => {
  test('eval passes its sources, and prints a table or, with --json, a line', async () => {
    const asText = fakeIo()
    expect(await main(['eval', 'runs/x', '--data', 'a.txt', '--data', 'b.txt', '--threads', '2'], asText.io)).toBe(0)
    expect(asText.calls[0]?.args).toEqual([
      'runs/x',
      expect.objectContaining({ source: ['a.txt', 'b.txt'], threads: 2 }),
    ])
    expect(asText.stdout.text).toMatch(/loss +4\.5012 nats a token, dropless\n/)
    expect(asText.stdout.text).toMatch(/bits per byte +1\.7081\n/)
    const asJson = fakeIo()
    expect(await main(['eval', 'runs/x', '--json'], asJson.io)).toBe(0)
    expect(asJson.calls[0]?.args[1]).not.toHaveProperty('source')
    expect(jsonLines(asJson.stdout.text)).toEqual([
      expect.objectContaining({
        kind: 'eval',
        loss: 4.5012,
        capacity: 'none',
        capacities: expect.objectContaining({ train: expect.objectContaining({ loss: 4.5371, drop_rate: 0.034 }) }),
      }),
    ])
  })

  test('export passes its options, and prints its report or, with --json, a line', async () => {
    const asText = fakeIo()
    const args = ['export', 'runs/x', '--format', 'hf', '--dtype', 'bf16', '--checkpoint', '400']
    expect(await main(args, asText.io)).toBe(0)
    expect(asText.calls[0]?.args).toEqual([
      'runs/x',
      expect.objectContaining({ format: 'hf', dtype: 'bf16', checkpoint: 400 }),
    ])
    expect(asText.stderr.text).toBe('  writing 2 files\n')
    for (const line of [
      /architecture +OlmoeForCausalLM\n/,
      /because +it has norms of queries and keys\n/,
      /read back +largest logit difference 1\.3e-6 on 32 tokens, by a reader \(largest logit 8\.50\)\n/,
      /held-out loss +4\.5000 nats a token dropless, as exported \(4\.5371 at the training capacity, /,
      /folder +runs\/x\/export\/hf, 900 B\n +config\.json +900 B\n/,
    ])
      expect(asText.stdout.text).toMatch(line)
    const asJson = fakeIo()
    expect(await main(['export', 'runs/x', '--format', 'gguf', '--out', 'o', '--json'], asJson.io)).toBe(0)
    expect(jsonLines(asJson.stdout.text).at(-1)).toMatchObject({ kind: 'export', format: 'gguf', out: 'o' })
    const wrong = fakeIo()
    expect(await main(['export', 'runs/x', '--format', 'pickle'], wrong.io)).toBe(2)
    expect(wrong.stderr.text).toContain("'pickle' is invalid. Allowed choices are hf, onnx, gguf.")
  })

  test('eval reports the loss at the chosen capacity, and a table of all three', async () => {
    const fake = fakeIo()
    expect(await main(['eval', 'runs/x', '--capacity', 'train'], fake.io)).toBe(0)
    expect(fake.calls[0]?.args[1]).toMatchObject({ capacity: 'train' })
    expect(fake.stdout.text).toMatch(/loss +4\.5371 nats a token, at the training capacity\n/)
    for (const loss of ['4.5371', '4.5123', '4.5012']) expect(fake.stdout.text).toContain(`   ${loss}   `)
    const wrong = fakeIo()
    expect(await main(['eval', 'runs/x', '--capacity', 'kx'], wrong.io)).toBe(2)
    expect(wrong.stderr.text).toContain("'kx' is invalid. Allowed choices are train, eval, none.")
  })

  test('eval passes --math, and prints once that bf16 is not available', async () => {
    const asText = fakeIo()
    expect(await main(['eval', 'runs/x', '--math', 'bf16'], asText.io)).toBe(0)
    expect(asText.calls[0]?.args).toEqual(['runs/x', expect.objectContaining({ math: 'bf16' })])
    expect(asText.stderr.text).toBe('  reading the text\nchoir: no bf16 here\n')
    const asJson = fakeIo()
    await main(['eval', 'runs/x', '--math', 'bf16', '--json'], asJson.io)
    expect(jsonLines(asJson.stdout.text).map(({ kind }) => kind)).toEqual(['notice', 'eval'])
    expect(asJson.stderr.text).toBe('')
  })

  test('generate passes every option', async () => {
    const fake = fakeIo()
    const sampling = [
      ...['--temperature', '0', '--top-k', '0', '--top-p', '1', '--seed', '7', '--threads', '2', '--weights', 'int8'],
      ...['--stop', '.', '--stop', '!', '--checkpoint', 'step-00000040'],
    ]
    expect(await main(['generate', 'runs/x', '--prompt', 'The people', '--tokens', '5', ...sampling], fake.io)).toBe(0)
    const [directory, options] = fake.calls[0]?.args ?? []
    expect(directory).toBe('runs/x')
    const { signal, onMessage: _, ...rest } = options as GenerateOptions
    const model = { threads: 2, checkpoint: 40, weights: 'int8', copy: true }
    expect(rest).toEqual({
      ...{ prompt: 'The people', tokens: 5, temperature: 0, topK: 0, topP: 1, seed: 7, stop: ['.', '!'] },
      ...model,
    })
    expect(signal?.aborted).toBe(false)
    expect(fake.stdout.text).toBe('The people of the United States\n')
    expect(fake.stderr.text).toBe('choir: skipping checkpoint 40\n')
  })

  test('generate --json prints pieces and warnings, and at the end the whole text and why it ended', async () => {
    const fake = fakeIo()
    expect(await main(['generate', 'runs/x', '--prompt', 'The people', '--json'], fake.io)).toBe(0)
    expect(jsonLines(fake.stdout.text)).toEqual([
      { kind: 'warning', version: 1, message: 'skipping checkpoint 40' },
      { kind: 'piece', text: ' of the' },
      { kind: 'piece', text: ' United States' },
      {
        ...{ kind: 'summary', prompt: 'The people', text: ' of the United States' },
        ...{ reason: 'length', tokens: 4, seconds: 0.5, step: 20 },
      },
    ])
    expect(fake.stderr.text).toBe('')
  })

  test('generate --prompt - reads standard input, without one line break at its end', async () => {
    for (const [stdin, prompt] of [
      ['The people', 'The people'],
      ['Zwölf\n', 'Zwölf'],
      ['a\n\n', 'a\n'],
      ['a\r\n', 'a'],
      ['\ufeffa ', 'a '],
    ] as const) {
      const fake = fakeIo({ stdin })
      expect(await main(['generate', 'x', '--prompt', '-'], fake.io)).toBe(0)
      expect(fake.calls[0]?.args[1]).toMatchObject({ prompt })
    }
    for (const [stdin, message] of [
      ['', 'standard input is empty'],
      ['\n', 'standard input is empty'],
      ['a\0', 'has a NUL byte at offset 1'],
      [Buffer.of(0x61, 0xe9), 'standard input is not UTF-8'],
    ] as const) {
      const fake = fakeIo({ stdin })
      expect(await main(['generate', 'x', '--prompt', '-'], fake.io)).toBe(2)
      expect(fake.stderr.text).toContain(`choir: invalid --prompt: standard input`)
      expect(fake.stderr.text).toContain(message)
      expect(fake.calls).toEqual([])
    }
    const terminal = fakeIo({ stdin: 'x\n', terminal: true })
    await main(['generate', 'x', '--prompt', '-'], terminal.io)
    expect(terminal.stderr.text).toContain('type the prompt; end it with Ctrl-D')
  })

  test('eval passes the step of a checkpoint', async () => {
    const fake = fakeIo()
    expect(await main(['eval', 'runs/x', '--checkpoint', '40'], fake.io)).toBe(0)
    expect(fake.calls[0]?.args[1]).toMatchObject({ checkpoint: 40 })
  })

  test('train --data sets the text, and takes names literally', async () => {
    const sourceOf = async (...args: string[]) => {
      const fake = fakeIo()
      expect(await main(['train', 'tiny', ...args], fake.io)).toBe(0)
      const [config] = fake.calls.find(({ name }) => name === 'train')?.args ?? []
      return (config as RunConfig).data.source
    }
    expect(await sourceOf('--data', '[a] #1: "x"=y.txt')).toBe('[a] #1: "x"=y.txt')
    expect(await sourceOf('--data', 'a', '--data', '-', '--set', 'data.field=body')).toEqual(['a', '-'])
  })

  test('generate prints no prompt if the run cannot be read', async () => {
    const fake = fakeIo({
      operations: {
        // biome-ignore lint/correctness/useYield: it fails before its first piece
        async *generate() {
          throw new RunError('no checkpoint')
        },
      },
    })
    expect(await main(['generate', 'x', '--prompt', 'zero'], fake.io)).toBe(1)
    expect(fake.stdout.text).toBe('')
  })

  test('inspect applies assignments, and merges equal layers', async () => {
    const fake = fakeIo()
    expect(await main(['inspect', 'tiny', '--set', 'model.moe.k=2'], fake.io)).toBe(0)
    expect(fake.stdout.text).toContain('4, each 64 wide, in every layer, top-2, capacity kx × 1.25')
    expect(fake.stdout.text).toContain('1.00 M, of which 250k (25.0 %) are active for a token')
    expect(fake.stdout.text).toMatch(/layers\.\*\.moe\.in +4 × 32 × 64 +× 2 +16,384 +1\.6 %\n/)
    expect(fake.stdout.text).toMatch(/total +8\.00 MB\n/)
  })

  test('inspect names scores, groups and the gate of the shared expert', async () => {
    const fake = fakeIo()
    const moe = { router: 'bias', experts: 8, k: 2, scores: 'sigmoid', expertGroups: 4, groupsPerToken: 2 }
    const settings = { ...moe, sharedHidden: 48, sharedGate: true, hidden: 64 }
    const sets = Object.entries(settings).flatMap(([field, value]) => ['--set', `model.moe.${field}=${value}`])
    expect(await main(['inspect', 'tiny', ...sets], fake.io)).toBe(0)
    expect(fake.stdout.text).toContain(
      '8, each 64 wide, and a shared one 48 wide with a gate, in every layer, bias top-2 from 2 of 4 groups by sigmoid scores, capacity',
    )
  })

  test('inspect --signal shows the residual stream and its problems', async () => {
    const fake = fakeIo()
    expect(await main(['inspect', 'tiny', '--signal'], fake.io)).toBe(0)
    expect(fake.calls.map(({ name }) => name)).toEqual(['describe', 'signal'])
    expect(fake.stdout.text).toMatch(/\n +1 +1\.000 +1\.00e-2 +25\.0 %\n/)
    expect(fake.stdout.text).toContain('initial loss 6.300; uniform predictions have 6.238 (ln V')
    expect(fake.stdout.text).toContain('! the token explains 25 % of the last hidden state\n')
    const asJson = fakeIo()
    await main(['inspect', 'tiny', '--signal', '--json'], asJson.io)
    expect(jsonLines(asJson.stdout.text)).toEqual([expect.objectContaining({ signal: expect.anything() })])
  })

  test('inspect reads a run, and prints its JSON on one line', async () => {
    const fake = fakeIo()
    expect(await main(['inspect', await storedRun('inspected'), '--json'], fake.io)).toBe(0)
    expect(fake.calls[0]?.args).toEqual([await loadConfig('tiny', [])])
    expect(jsonLines(fake.stdout.text)).toEqual([expect.objectContaining({ kind: 'description', parameters: 1e6 })])
  })

  test('inspect shows which run the first weights came from', async () => {
    const run = await storedRun('begun')
    const from = { run: '/elsewhere/a', step: 2400, weights: 'ab'.repeat(32), differences: [] }
    const stored = JSON.parse(readFileSync(join(run, 'config.json'), 'utf8'))
    writeFileSync(join(run, 'config.json'), JSON.stringify({ ...stored, from }))
    const [text, json] = [fakeIo(), fakeIo()]
    await main(['inspect', run], text.io)
    expect(text.stdout.text).toContain('the weights of /elsewhere/a, step 2,400 (SHA-256 abababababab)')
    await main(['inspect', run, '--json'], json.io)
    expect(jsonLines(json.stdout.text)).toEqual([expect.objectContaining({ from })])
  })

  test('bench runs each routing in a process of its own, and writes a table and a file', async () => {
    const fake = fakeIo()
    const file = join(folder, 'bench', 'S.json')
    expect(await main(['bench', '--steps', '3', '--out', file], fake.io)).toBe(0)
    const runs = fake.calls.filter(({ name, args }) => name === 'runSelf' && (args[0] as string[]).includes('--only'))
    expect(runs).toHaveLength(6)
    expect(fake.stdout.text).toMatch(/^ {2}2 top-1 1x +6\.00k +674\.0 +600\.0 +74\.0 +55 % +2\.0 % +1\.50 GB$/m)
    const report = JSON.parse(readFileSync(file, 'utf8'))
    expect(report.rows.map((row: { routing: string }) => row.routing)).toContain('dropless')
    expect(report.machine.node).toBe(process.version)
  })

  test('train on ranks ends with the shares of a step, the load and a slow rank', async () => {
    const slow = { rank: 3, host: 'node7', pid: 4711, ratio: 1.4, cost: 0.24, load: 1.02 }
    const load = { rank: 1, maxOverMean: 1.12 }
    const ranks = { ranks: 4, compute: 0.6, allToAll: 0.1, allReduce: 0.05, wait: 0.25, load, slow }
    const { io, stdout } = fakeIo({ ranks })
    await main(['train', 'tiny', '--out', join(folder, 'ranks')], io)
    expect(stdout.text).toMatch(
      /^ {2}4 ranks +computing 60 %, all-to-all 10 %, all-reduce 5 %, waiting for other ranks 25 %$/m,
    )
    expect(stdout.text).toMatch(/^ {2}load +at most 1\.12 times the mean, on rank 1$/m)
    expect(stdout.text).toMatch(
      /^ {2}slow rank +rank 3 \(node7, PID 4711\) computes 1\.40 times as long as the median of the other ranks; they wait 24 % of a step for it$/m,
    )
    const alone = fakeIo()
    await main(['train', 'tiny', '--out', join(folder, 'alone')], alone.io)
    expect(alone.stdout.text).not.toMatch(/\d ranks|slow rank/)
  })

  test.each([
    ['bench', '--out'],
    ['bench', '--trace'],
    ['train tiny', '--trace'],
    ['plan tiny --cluster local', '--html'],
  ])('%s %s refuses a folder before any work', async (command, option) => {
    const fake = fakeIo()
    expect(await main([...command.split(' '), option, folder], fake.io)).toBe(2)
    expect(fake.stderr.text).toBe(`choir: invalid ${option}: "${folder}" is a folder (expected a file)\n`)
    expect([fake.calls.filter(({ name }) => name !== 'joinRanks' && name !== 'fromFirst'), fake.stdout.text]).toEqual([
      [],
      '',
    ])
  })

  test('train and bench report a matmul ceiling that is a lower bound as a lower bound', async () => {
    const ceiling = { peakFlops: 3e11, lowestPeakFlops: 2e11, peakIsLowerBound: true }
    const why = 'at least 300 GFLOP/s; one measurement gave 200 GFLOP/s, so something else was running'
    const busy = fakeIo({ ceiling })
    await main(['train', 'tiny', '--out', join(folder, 'busy')], busy.io)
    expect(busy.stdout.text).toMatch(/^ {2}speed +12\.3k tokens\/s, MFU at most 61 %$/m)
    expect(busy.stdout.text).toContain(why)
    const bench = fakeIo({ ceiling })
    await main(['bench', '--only', 'top-1', '--out', join(folder, 'busy.json')], bench.io)
    expect(bench.stdout.text).toContain(`top-1: matmul ceiling ${why}`)
    const quiet = fakeIo()
    await main(['train', 'tiny', '--out', join(folder, 'quiet')], quiet.io)
    expect(quiet.stdout.text).toMatch(/^ {2}speed +12\.3k tokens\/s, MFU 61 %$/m)
    expect(quiet.stdout.text).not.toContain('something else')
  })

  test('bench of one routing measures in this process', async () => {
    const fake = fakeIo()
    expect(await main(['bench', '--only', '4 top-1 1x', '--threads', '2', '--json'], fake.io)).toBe(0)
    const [config, options] = fake.calls[0]?.args ?? []
    expect(fake.calls).toHaveLength(1)
    expect(config).toEqual(
      await loadConfig('S', [
        'model.tied=true',
        'model.moe.router=prototype',
        'model.moe.prototypes=4',
        'model.moe.capacity=1x',
        'model.moe.priority=choice',
        'runtime.threads=2',
      ]),
    )
    expect(options).toMatchObject({ steps: 10 })
    expect(jsonLines(fake.stdout.text)).toEqual([expect.objectContaining({ kind: 'bench', routing: '4 top-1 1x' })])
  })

  test('bench starts with engine, ceilings and, if both can be measured, the gain of oneDNN', async () => {
    const fake = fakeIo()
    expect(await main(['bench', '--only', 'top-1', '--out', join(folder, 'head.json')], fake.io)).toBe(0)
    expect(fake.stdout.text).toMatch(/^ {2}engine +oneDNN 3\.7\.2, float32 on 2 threads$/m)
    expect(fake.stdout.text).toMatch(/^ {2}matmul ceiling +300 GFLOP\/s, 1\.50 × ONNX Runtime alone \(200 GFLOP\/s\)$/m)
    expect(fake.stdout.text).toMatch(/^ {2}memory ceiling +20\.0 GB\/s$/m)
    expect(fake.stdout.text).not.toContain('apt-get')
    const { machine } = JSON.parse(readFileSync(join(folder, 'head.json'), 'utf8'))
    expect(machine).toMatchObject({ peakFlops: 3e11, alonePeakFlops: 2e11, bandwidth: 2e10 })
  })

  test('without oneDNN, bench prints how to install it, and claims no gain', async () => {
    const fake = fakeIo({ machine: withoutDnnl })
    expect(await main(['bench', '--ceilings'], fake.io)).toBe(0)
    expect(fake.stdout.text).toMatch(/^ {2}matmul ceiling +300 GFLOP\/s$/m)
    const words = fake.stdout.text.replaceAll(/\s+/g, ' ')
    expect(words).toContain('ONNX Runtime alone (libdnnl is not installed), float32')
    expect(words).toContain('apt-get install libdnnl3.6')
    expect(words).toContain('CHOIR_DNNL')
    expect(words).toContain('How much faster it would be on this machine was not measured.')
    expect(fake.calls.map(({ name }) => name)).toEqual(['runSelf'])
    const off = fakeIo({ machine: withoutDnnl, env: { CHOIR_DNNL: 'off' } })
    await main(['bench', '--ceilings'], off.io)
    expect(off.stdout.text).not.toContain('apt-get')
  })

  test('bench --ceilings --json prints one line about this machine, at the precision of --math', async () => {
    const fake = fakeIo()
    expect(await main(['bench', '--ceilings', '--math', 'bf16', '--threads', '3', '--json'], fake.io)).toBe(0)
    expect(jsonLines(fake.stdout.text)).toEqual([
      expect.objectContaining({ kind: 'machine', provider: 'oneDNN 3.7.2', bandwidth: 2e10 }),
    ])
    const expected = expect.objectContaining({ math: 'bf16', threads: 3 })
    expect(fake.calls[0]?.args).toEqual([expect.objectContaining({ runtime: expected })])
  })

  test('bench prints once that bf16 is not available, and passes --math to every child process', async () => {
    const notice = { notice: 'no bf16 here' }
    const fake = fakeIo({ machine: notice })
    const args = ['bench', '--math', 'bf16', '--out', join(folder, 'bf16.json')]
    expect(await main(args, fake.io)).toBe(0)
    expect(fake.stderr.text.match(/^choir: no bf16 here$/gm)).toHaveLength(1)
    const children = fake.calls.filter(({ args }) => (args[0] as string[]).includes('--only'))
    for (const { args } of children) expect((args[0] as string[]).join(' ')).toContain('--math bf16')
    const asJson = fakeIo({ machine: notice })
    await main(['bench', '--math', 'bf16', '--json'], asJson.io)
    const kinds = jsonLines(asJson.stdout.text).map(({ kind }) => kind)
    expect(kinds).toEqual(['notice', ...Array.from({ length: 6 }, () => 'bench')])
    expect(asJson.stderr.text).toBe('')
  })

  test('bench --profile records one routing, or the routings of --only', async () => {
    const one = fakeIo()
    const trace = join(folder, 'bench-trace.json')
    const out = join(folder, 'profile.json')
    expect(await main(['bench', '--profile', '--trace', trace, '--out', out], one.io)).toBe(0)
    expect(one.stdout.text).toMatch(/^ {2}matmul' +4 +6\.00 +60\.0 % +150 GFLOP\/s +50 %$/m)
    expect(traceProblems(JSON.parse(readFileSync(trace, 'utf8')))).toEqual([])
    expect(JSON.parse(readFileSync(out, 'utf8')).rows).toEqual([
      expect.not.objectContaining({ profile: expect.anything() }),
    ])
    const several = fakeIo()
    const only = ['--only', 'top-1', '--only', 'dropless']
    await main(['bench', '--profile', ...only, '--out', out], several.io)
    expect(several.stdout.text.match(/^ {2}(top-1|dropless)$/gm)).toEqual(['  top-1', '  dropless'])
    expect(several.stdout.text.match(/^ {2}total +.*\n\n {2}part of the model/gm)).toHaveLength(2)
    const asJson = fakeIo()
    await main(['bench', '--profile', '--json'], asJson.io)
    expect(jsonLines(asJson.stdout.text).map(({ kind }) => kind)).toEqual(['bench', 'profile'])
  })
})

describe('study', () => {
  const call = (fake: Fake, name: 'study' | 'writeStudyReport' = 'study') => {
    const [specification, options] = fake.calls.find((made) => made.name === name)?.args ?? []
    return { specification: specification as Specification, options: options as StudyOptions }
  }

  test('the preset of m6t is quick by default', async () => {
    for (const [flags, seeds] of [
      [[], 4],
      [['--preset', 'standard'], 4],
      [['--preset', 'standard', '--seeds', '2'], 2],
    ] as const) {
      const fake = fakeIo()
      expect(await main(['study', 'm6t', '--out', 'here', ...flags], fake.io)).toBe(0)
      expect(call(fake).specification.seeds).toHaveLength(seeds)
    }
  })

  test('text, settings and precision apply to all arms, and the report has the command of the study', async () => {
    const fake = fakeIo()
    const args = ['--data', 'a b.txt', '--set', 'train.steps=9', '--math', 'bf16', '--jobs', '2', '--threads', '1']
    expect(await main(['study', 'm6t', '--out', 'here', ...args], fake.io)).toBe(0)
    const { options, specification } = call(fake)
    expect(specification.set).toMatchObject({ 'train.steps': 9, 'data.source': 'a b.txt', 'runtime.math': 'bf16' })
    expect(options).toMatchObject({ directory: 'here', jobs: 2, threads: 1, keepCheckpoints: false })
    expect(options.command).toBe("choir study m6t --data 'a b.txt' --set train.steps=9 --math bf16 --out here")
  })

  test('prints a line per run with the time left, reasons of failures, and the path of the report', async () => {
    const fake = fakeIo()
    expect(await main(['study', 'm6t', '--out', 'here'], fake.io)).toBe(0)
    const text = stripVTControlCharacters(fake.stdout.text)
    expect(text).toMatch(/1\/2 {2}top-1, seed 1 {2}failed: no luck {3}1m 00s left/)
    expect(text).toMatch(/runs {4}1 of 2, 1 failed \(see the report\)/)
    expect(text).toContain('here/report.html')
  })

  test('the results of predictions are counted, and those that were registered late', async () => {
    const one = {
      question: 'q',
      contrasts: [],
      of: 'all',
      deciding: null,
      difference: null,
      low: null,
      high: null,
    } as const
    type Result = 'held' | 'not held' | 'undecided'
    const outcomeOf = (result: Result, ended: number | null, uncorrected = result) => ({
      ...one,
      result,
      uncorrected,
      registered: ended === null ? null : { at: '2026-11-29T12:00:00.000Z', ended },
    })
    const predictions = [
      outcomeOf('held', 0),
      outcomeOf('held', 3),
      outcomeOf('not held', null),
      outcomeOf('undecided', 0),
      outcomeOf('undecided', 0, 'held'),
    ]
    const outcome = {
      interrupted: false,
      finished: 1,
      failed: 0,
      runs: 1,
      files: null,
      answers: null,
      predictions,
      others: ['a'],
    }
    const fake = fakeIo({ operations: { study: async () => outcome } })
    expect(await main(['study', 'm6t', '--out', 'here'], fake.io)).toBe(0)
    expect(stripVTControlCharacters(fake.stdout.text)).toContain(
      'predictions  2 held, 1 not held, 2 undecided (1 decided by the interval alone, °); 2 not registered before the first result',
    )
  })

  test('--paper asks for the files for a paper, prints their folder, and is no part of the command', async () => {
    const files = { html: 'h', markdown: 'm', results: 'r', parquet: 'p', curves: 'c', paper: 'here/paper' }
    const outcome = {
      interrupted: false,
      finished: 1,
      failed: 0,
      runs: 1,
      files,
      answers: null,
      predictions: [],
      others: [],
    }
    const fake = fakeIo({ operations: { study: async () => outcome } })
    expect(await main(['study', 'm6t', '--out', 'here', '--paper'], fake.io)).toBe(0)
    expect(stripVTControlCharacters(fake.stdout.text)).toMatch(/^ *paper {3}here\/paper$/m)
    const usual = fakeIo()
    await main(['study', 'm6t', '--out', 'here', '--paper'], usual.io)
    expect(call(usual).options).toMatchObject({ paper: true, command: 'choir study m6t --out here' })
  })

  test('on a terminal the bar is removed at the end', async () => {
    const fake = fakeIo({ terminal: true, columns: 60 })
    expect(await main(['study', 'm6t', '--out', 'here'], fake.io)).toBe(0)
    expect(stripVTControlCharacters(fake.stdout.text)).toContain('failed: no luck')
    expect(fake.stdout.text.endsWith('curves.parquet\n')).toBe(true)
  })

  test('--json prints events and a summary, and nothing else', async () => {
    const fake = fakeIo()
    expect(await main(['study', 'm6t', '--out', 'here', '--json'], fake.io)).toBe(0)
    const kinds = jsonLines(fake.stdout.text).map(({ kind }) => kind)
    expect(kinds).toEqual(['prepare', 'study', 'phase', 'begin', 'progress', 'end', 'summary'])
  })

  test('--report trains nothing', async () => {
    const fake = fakeIo()
    expect(await main(['study', 'm6t', '--out', 'here', '--report'], fake.io)).toBe(0)
    expect(fake.calls.map(({ name }) => name)).toEqual(['writeStudyReport'])
  })

  test('Ctrl-C prints a command that continues with the files for a paper', async () => {
    const outcome = {
      interrupted: true,
      finished: 2,
      failed: 0,
      runs: 6,
      files: null,
      answers: null,
      predictions: [],
      others: [],
    }
    const fake = fakeIo({ operations: { study: async () => outcome } })
    expect(await main(['study', 'm6t', '--out', 'here', '--paper'], fake.io)).toBe(130)
    expect(fake.stderr.text).toContain('continue with: choir study m6t --out here --paper\n')
  })

  describe('with --dry-run or --budget', () => {
    const estimateOf = (fake: Fake) => fake.calls.find(({ name }) => name === 'estimateStudy')?.args[1]

    test('--dry-run trains nothing, needs no folder, and prints arms, time by its causes, disk space and warnings', async () => {
      const fake = fakeIo()
      expect(await main(['study', 'm6t', '--dry-run', '--jobs', '2', '--threads', '1'], fake.io)).toBe(0)
      expect(fake.calls.map(({ name }) => name)).toEqual(['estimateStudy'])
      expect(estimateOf(fake)).toMatchObject({
        jobs: 2,
        threads: 1,
        directory: undefined,
        budget: undefined,
        dryRun: true,
      })
      const text = stripVTControlCharacters(fake.stdout.text)
      expect(text).toMatch(/top-1 +4\.12 M +1\.50 M +15\.3 MFLOP +300 +12\.3 ms +20m 00s +2 {2}model\.moe\.k=1/)
      expect(text).toMatch(/1 arm, 2 seeds: 2 runs left, 1 already done/)
      expect(text).toMatch(/time +about 1h 20m: training 1h 10m, evaluation 8m 00s, step timing 2m 00s/)
      expect(text).toMatch(/at most 1m 00s more, if learning rates need 3 further runs/)
      expect(text).toMatch(/disk +320 MB while it runs, of which 40\.0 MB stay/)
      expect(text).toContain('top-1: no bf16 here')
      expect(text).toContain('evaluations take 60 % of the time')
      expect(text).not.toContain('budget')
    })

    test('a budget chooses the seeds of the study, and the report has the command with these seeds', async () => {
      const fake = fakeIo()
      expect(await main(['study', 'm6t', '--out', 'here', '--budget', '1h30m'], fake.io)).toBe(0)
      expect(estimateOf(fake)).toMatchObject({ directory: 'here', budget: 5400, dryRun: undefined })
      expect(call(fake).specification.seeds).toEqual([1, 2])
      expect(call(fake).options.command).toBe('choir study m6t --seeds 2 --out here')
      expect(fake.stdout.text).toMatch(/budget.* {2}1h 30m: the first 2 of 4 seeds, at most about 1h 21m/)
    })

    test.each([[[]], [['--dry-run']]])('a budget that has no room for two seeds is refused (%j)', async (flags) => {
      const fake = fakeIo()
      expect(await main(['study', 'm6t', '--out', 'here', '--budget', '30m', ...flags], fake.io)).toBe(2)
      expect(fake.stderr.text).toMatch(
        /invalid --budget: 30m 00s \(two seeds need about 1h 21m: expected at least that; it would fit with about 40 % of the steps/,
      )
      expect(fake.calls.map(({ name }) => name)).toEqual(['estimateStudy'])
    })

    test('Ctrl-C ends the estimate without a result', async () => {
      const fake = fakeIo({ operations: { estimateStudy: async () => null } })
      expect(await main(['study', 'm6t', '--dry-run'], fake.io)).toBe(130)
    })
  })

  describe('with --join', () => {
    const files = null
    const outcome = {
      interrupted: false,
      finished: 6,
      failed: 0,
      runs: 6,
      files,
      answers: null,
      predictions: [],
      others: ['process 7 on b'],
    }

    test('the study may be shared, and the printed command has no --join', async () => {
      const fake = fakeIo()
      expect(await main(['study', 'm6t', '--out', 'here', '--join'], fake.io)).toBe(0)
      expect(call(fake).options).toMatchObject({ join: true, command: 'choir study m6t --out here' })
    })

    test('a process that does not write the report names the process that writes it', async () => {
      const fake = fakeIo({ operations: { study: async () => outcome } })
      expect(await main(['study', 'm6t', '--out', 'here', '--join'], fake.io)).toBe(0)
      const text = stripVTControlCharacters(fake.stdout.text)
      expect(text).toMatch(/runs {4}6 of 6\n/)
      expect(text).toMatch(/report {2}is written by process 7 on b\n/)
      expect(text).not.toContain('report.html')
    })

    test('a process that does not write the report prints the command that writes the files for a paper', async () => {
      const printed = async (...flags: string[]) => {
        const fake = fakeIo({ operations: { study: async () => outcome } })
        expect(await main(['study', 'm6t', '--out', 'here', '--join', ...flags], fake.io)).toBe(0)
        return stripVTControlCharacters(fake.stdout.text)
      }
      expect(await printed('--paper')).toMatch(
        /^ *paper {3}choir study m6t --out here --report --paper \(when the study has ended\)$/m,
      )
      expect(await printed()).not.toContain('paper')
    })

    test('Ctrl-C prints which processes go on, and the command that joins again', async () => {
      const fake = fakeIo({
        operations: { study: async () => ({ ...outcome, interrupted: true, finished: 2 }) },
      })
      expect(await main(['study', 'm6t', '--out', 'here', '--join'], fake.io)).toBe(130)
      expect(fake.stderr.text).toContain(
        'stopped with 2 of 6 runs; process 7 on b goes on; continue with: choir study m6t --out here --join',
      )
    })
  })

  test.each([
    [['study', 'm6t', '--out', 'here', '--join', '--report'], /--join.* cannot be used with .*--report/],
    [['study', 'm6t', '--out', 'here', '--join', '--budget', '2h'], /--budget.* cannot be used with .*--join/],
    [['study', 'm6t', '--out', 'here', '--report', '--dry-run'], /--dry-run.* cannot be used with .*--report/],
    [['study', 'm6t', '--out', 'here', '--report', '--jobs', '3'], /--jobs.* cannot be used with .*--report/],
    [['study', 'm6t', '--out', 'here', '--report', '--threads', '2'], /--threads.* cannot be used with .*--report/],
    [
      ['study', 'm6t', '--out', 'here', '--report', '--keep-checkpoints'],
      /--keep-checkpoints.* cannot be used with .*--report/,
    ],
    [['study', 'm6t', '--dry-run', '--paper'], /--dry-run.* cannot be used with .*--paper/],
    [['study', 'm6t', '--dry-run', '--budget', '2'], /invalid --budget: "2" \(expected a time .*such as 90m, 2h/],
    [['study', 'm6t', '--dry-run', '--budget', '30m2h'], /invalid --budget: "30m2h"/],
    [['study', 'm6t', '--dry-run', '--budget', '0h'], /invalid --budget: "0h"/],
    [['study', 'm6t', '--dry-run', '--budget', '-2h'], /invalid --budget: "-2h"/],
    [['study', 'm6t'], /required option '--out <dir>' not specified/],
    [['study', '--out', 'here'], /missing required argument 'study'/],
    [['study', 'm6t', '--out', 'here', '--jobs', '0'], /invalid --jobs: "0"/],
    [['study', 'm6t', '--out', 'here', '--jobs', '9999'], /invalid --jobs: 9999 runs of 1 threads are too many/],
    [['study', 'm6t', '--out', 'here', '--threads', '999'], /invalid --threads: 1 runs of 999 threads are too many/],
    [['study', 'm6t', '--out', 'here', '--set', 'train.steps'], /invalid --set: "train.steps"/],
  ])('%j is refused', async (args, message) => {
    const fake = fakeIo()
    expect(await main(args, fake.io)).toBe(2)
    expect(fake.stderr.text).toMatch(message)
    expect(fake.calls).toEqual([])
  })
})
