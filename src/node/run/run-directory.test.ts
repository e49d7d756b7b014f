import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import type { RoutingRecord } from '../../core/model/routing/statistics.ts'
import type { EvalRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { loadRunConfig } from './load-config.ts'
import { RunDirectory } from './run-directory.ts'

let folder: string
let directory: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-run-'))
  directory = join(folder, 'runs', 'first')
})
afterEach(() => rm(folder, { recursive: true }))

const config = (input: RunInput = {}): RunConfig => runSchema.parse(input)

const train = (step: number): TrainRecord => ({
  kind: 'train',
  step,
  tokens: step * 100,
  loss: 10 / step,
  aux_loss: 1,
  z_loss: 2,
  learning_rate: 0.1,
  grad_norm: Number.NaN,
  tokens_per_second: 5,
  step_ms: 7,
  mfu: 0.5,
  drop_rate: 0.25,
  unserved_rate: 0.125,
  load_cv: 0.125,
  load_cv_kept: 0.1,
  dead_experts: 0,
  gate_mean: 0.4,
  gate_entropy: null,
  entropy_share: 0.75,
})
const evaluation = (step: number) =>
  ({
    kind: 'eval',
    step,
    tokens: step * 100,
    loss: 3,
    capacity: 'eval',
    capacities: { none: { loss: 2 } },
  }) as EvalRecord
const routing = (step: number, layer: number) =>
  ({ step, layer, capacity: null, tokens_per_expert: [3, 5] as readonly number[] }) as RoutingRecord

/** Logs steps as the training loop does: an evaluation every third step, routing of two layers every second step. */
function log(run: RunDirectory, from: number, to: number): void {
  for (let step = from; step <= to; step++) {
    run.logs.record('train', step, train(step))
    if (step % 2 === 0) for (const layer of [0, 1]) run.logs.recordRouting(routing(step, layer))
    if (step % 3 === 0) run.logs.record('eval', step, evaluation(step))
  }
}

/** Resumes the run with a configuration. `isSameText`: whether its text was compared with the text of a checkpoint. */
async function adopt(changed: RunConfig, isSameText = false): Promise<void> {
  const run = await RunDirectory.open(directory, changed, true)
  await run.adopt(isSameText).finally(() => run.close())
}

const read = (name: string) => readFile(join(directory, name), 'utf8')

async function refusal(attempt: Promise<RunDirectory>, kind: typeof UsageError | typeof RunError): Promise<string> {
  const failure = await attempt.catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(kind)
  return String(failure)
}

test('a new run stores its full configuration, with version and time, and reads back the same', async () => {
  const given = config({ train: { steps: 7 }, model: { moe: null } })
  await (await RunDirectory.open(directory, given, false)).close()
  const stored = JSON.parse(await read('config.json'))
  const { version, created, ...rest } = stored
  expect(version).toMatch(/^\d+\.\d+\.\d+/)
  expect(Math.abs(Date.parse(created) - Date.now())).toBeLessThan(60_000)
  expect(rest).toEqual(JSON.parse(JSON.stringify(given)))
  expect(await loadRunConfig(directory)).toEqual(given)
  expect(await readdir(directory)).toEqual(['config.json'])
})

test('a run is not overwritten, and the error says what to do', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const before = await read('config.json')
  const message = await refusal(RunDirectory.open(directory, config({ train: { steps: 9 } }), false), UsageError)
  expect(message).toMatch(/already holds a run \(continue it with resume, or choose another with directory\)/)
  expect(await read('config.json')).toBe(before)
})

test('a directory with other files is not touched', async () => {
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, 'thesis.tex'), 'x')
  expect(await refusal(RunDirectory.open(directory, config(), false), UsageError)).toContain(
    'holds thesis.tex but no run',
  )
  expect(await refusal(RunDirectory.open(directory, config(), true), UsageError)).toContain('no run in')
  expect(await readdir(directory)).toEqual(['thesis.tex'])
  const file = join(directory, 'thesis.tex')
  expect(await refusal(RunDirectory.open(file, config(), false), UsageError)).toContain('is a file')
})

test('an empty directory, or one where a process was killed while creating a run, can be used', async () => {
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, 'config.json.tmp'), '{"ver')
  await (await RunDirectory.open(directory, config(), false)).close()
  expect(await loadRunConfig(directory)).toEqual(config())
})

test('a new run that fails before its first record leaves nothing, not even the folders that it created', async () => {
  const failed = await RunDirectory.open(directory, config(), false)
  await failed.saveTokenizer('{}')
  await failed.logs.rewind(0)
  failed.discard()
  await failed.close()
  expect(await readdir(folder)).toEqual([])

  await mkdir(directory, { recursive: true })
  await writeFile(join(folder, 'runs', 'notes.txt'), 'x')
  const existing = await RunDirectory.open(directory, config(), false)
  // A file that a user puts there meanwhile stays.
  await writeFile(join(directory, 'notes.txt'), 'x')
  existing.discard()
  await existing.close()
  expect(await readdir(directory)).toEqual(['notes.txt'])
  expect((await readdir(join(folder, 'runs'))).sort()).toEqual(['first', 'notes.txt'])
})

test('a run with a record or a checkpoint, or one that is resumed, is not discarded', async () => {
  const recorded = await RunDirectory.open(directory, config(), false)
  await recorded.logs.rewind(0)
  log(recorded, 1, 1)
  recorded.discard()
  await recorded.close()
  expect(await loadRunConfig(directory)).toEqual(config())
  const resumed = await RunDirectory.open(directory, config(), true)
  resumed.discard()
  await resumed.close()
  expect(await loadRunConfig(directory)).toEqual(config())

  directory = join(folder, 'second')
  const saved = await RunDirectory.open(directory, config(), false)
  await mkdir(join(saved.checkpoints, 'step-00000000'), { recursive: true })
  saved.discard()
  await saved.close()
  expect((await readdir(directory)).sort()).toEqual(['checkpoints', 'config.json'])
})

test('a start that is refused because another process was faster removes nothing of the run of that process', async () => {
  const first = await RunDirectory.open(directory, config(), false)
  await rm(join(directory, 'config.json'))
  expect(await refusal(RunDirectory.open(directory, config(), false), RunError)).toContain('already in use')
  expect(await readdir(directory)).toEqual(['.lock'])
  await first.close()
})

test('an open run cannot be opened again until it is closed', async () => {
  const run = await RunDirectory.open(directory, config(), false)
  expect(await refusal(RunDirectory.open(directory, config(), true), RunError)).toContain(`${process.pid}`)
  await run.close()
  await (await RunDirectory.open(directory, config(), true)).close()
})

test('resuming refuses changed fields that affect results, names each, and unlocks the directory', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const other = config({ train: { seed: 3, steps: 5 }, model: { moe: { k: 2 } } })
  const message = await refusal(RunDirectory.open(directory, other, true), UsageError)
  expect(
    message
      .split('\n')
      .slice(1)
      .map((line) => line.trim()),
  ).toEqual(['model.moe.k: 1 in the run, 2 given', 'train.seed: 0 in the run, 3 given'])
  const dense = config({ model: { moe: null } })
  expect(await refusal(RunDirectory.open(directory, dense, true), UsageError)).toContain('model.moe: {')
  expect(await readdir(directory)).toEqual(['config.json'])
})

test('the precision cannot change, and a run stored without the field has float32', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const stored = JSON.parse(await read('config.json'))
  delete stored.runtime.math
  await writeFile(join(directory, 'config.json'), JSON.stringify(stored))
  await (await RunDirectory.open(directory, config(), true)).close()
  const other = config({ runtime: { math: 'bf16' } })
  const message = await refusal(RunDirectory.open(directory, other, true), UsageError)
  expect(message).toContain('runtime.math: "float32" in the run, "bf16" given')
})

test('a run in f16 can go on in float32 on the CPU, and not the other way round', async () => {
  const half = config({ runtime: { device: 'webgpu', math: 'f16' } })
  await (await RunDirectory.open(directory, half, false)).close()
  await adopt(config())
  expect((await loadRunConfig(directory)).runtime).toMatchObject({ device: 'cpu', math: 'float32' })
  expect(await refusal(RunDirectory.open(directory, half, true), UsageError)).toContain('runtime.math: "float32" in')
})

test('resuming with more steps is recorded in config.json', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const { created } = JSON.parse(await read('config.json'))
  const longer = config({ train: { steps: 2000 }, runtime: { threads: 3 } })
  await adopt(longer)
  expect(await loadRunConfig(directory)).toEqual(longer)
  expect(JSON.parse(await read('config.json'))).toMatchObject({
    created,
    changes: [
      { field: 'train.steps', from: 1000, to: 2000 },
      { field: 'runtime.threads', to: 3 },
    ],
  })
})

test('a run with an invalid list of changes, or a folder in place of a file, is refused with the name of the file', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const longer = config({ train: { steps: 2000 } })
  const stored = JSON.parse(await read('config.json'))
  for (const [field, value] of [
    ['changes', 5],
    ['changes', [null]],
    ['created', {}],
  ] as const) {
    await writeFile(join(directory, 'config.json'), JSON.stringify({ ...stored, [field]: value }))
    expect(await refusal(RunDirectory.open(directory, longer, true), RunError)).toMatch(
      new RegExp(`cannot read .*config\\.json: invalid ${field}: .* \\(expected a `),
    )
  }
  await writeFile(join(directory, 'config.json'), JSON.stringify(stored))
  await mkdir(join(directory, 'failure.json'))
  expect(await refusal(RunDirectory.open(directory, longer, true), RunError)).toMatch(
    /cannot remove .*failure\.json: it is a folder, where a file is expected \(move it away\)$/,
  )
  await rm(join(directory, 'failure.json'), { recursive: true })
  await adopt(longer)
})

test('a changed path of the text is recorded if the text was compared, and refused if it was not', async () => {
  await (await RunDirectory.open(directory, config(), false)).close()
  const before = await read('config.json')
  const moved = config({ data: { source: ['a', 'b'] } })
  await expect(adopt(moved)).rejects.toThrow('has no checkpoint yet')
  expect(await read('config.json')).toBe(before)
  await adopt(moved, true)
  expect((await loadRunConfig(directory)).data.source).toEqual(['a', 'b'])
})

test('the tokenizer exists once it was saved', async () => {
  const run = await RunDirectory.open(directory, config(), false)
  expect(await run.tokenizer()).toBeNull()
  await run.saveTokenizer('{"model":{}}')
  expect(await run.tokenizer()).toBe('{"model":{}}')
  await run.close()
})

test('logs cut at any byte and resumed from any earlier checkpoint read as if the run never stopped', async () => {
  const names = ['metrics.jsonl', 'routing.jsonl']
  const uncut = await RunDirectory.open(directory, config(), false)
  await uncut.logs.rewind(0)
  log(uncut, 1, 9)
  await uncut.close()
  const expected = await Promise.all(names.map(read))
  // There is a checkpoint at step 4; the process dies while it writes the lines of step 5 to 9.
  const cuts = names.map((_, i) => {
    const text = expected[i] as string
    return text.search(/\{[^{]*"step":[5-9]/)
  }) as [number, number]
  for (let lost = 0; lost < 400; lost += 13) {
    for (const [i, name] of names.entries()) {
      const text = expected[i] as string
      await writeFile(join(directory, name), text.slice(0, Math.max(cuts[i] as number, text.length - lost)))
    }
    const resumed = await RunDirectory.open(directory, config(), true)
    await resumed.logs.rewind(4)
    expect((await read('metrics.jsonl')).length).toBe(cuts[0])
    log(resumed, 5, 9)
    await resumed.logs.flush()
    expect(await Promise.all(names.map(read))).toEqual(expected)
    await resumed.close()
  }
})

const names = ['config.json', 'config.json.tmp', 'engine.json.tmp', 'metrics.jsonl', 'routing.jsonl', 'ledger.jsonl']
test
  .skipIf(process.platform === 'win32')
  .each([...names, 'checkpoints', 'non-finite', 'non-finite/step-00000001.json'])(
  'a run whose %s is a link is not resumed, and the target of the link stays unchanged',
  async (name) => {
    const run = await RunDirectory.open(directory, config(), false)
    await run.logs.rewind(0)
    log(run, 1, 4)
    await run.close()
    const isFolder = !name.includes('.')
    const victim = join(folder, 'victim')
    const link = join(directory, name)
    await mkdir(dirname(link), { recursive: true })
    if (isFolder) await mkdir(victim)
    else await copyFile(name === 'config.json' ? link : join(directory, 'metrics.jsonl'), victim)
    const before = isFolder ? [] : await readFile(victim)
    await rm(link, { recursive: true, force: true })
    await symlink(victim, link)
    const message = await refusal(RunDirectory.open(directory, config({ train: { steps: 9000 } }), true), RunError)
    expect(message).toContain(`${link}: it is a link to ${victim}`)
    expect(isFolder ? await readdir(victim) : await readFile(victim)).toEqual(before)
    expect(await readdir(directory)).not.toContain('.lock')
  },
)

test.skipIf(process.platform === 'win32')('a temporary file is never written through a link', async () => {
  await mkdir(directory, { recursive: true })
  await writeFile(join(folder, 'victim'), 'mine')
  await symlink(join(folder, 'victim'), join(directory, 'config.json.tmp'))
  await (await RunDirectory.open(directory, config(), false)).close()
  expect(await readFile(join(folder, 'victim'), 'utf8')).toBe('mine')
  expect(await loadRunConfig(directory)).toEqual(config())
})

test('a failed start removes the files that it wrote, and no file that someone else put there', async () => {
  const failed = await RunDirectory.open(directory, config(), false)
  const theirs = ['engine.json', 'ranks.json', 'tokenizer.json', 'ledger.jsonl']
  for (const name of theirs) await writeFile(join(directory, name), 'theirs')
  failed.discard()
  await failed.close()
  expect((await readdir(directory)).sort()).toEqual(theirs.toSorted())
})

test('a run that has lost its checkpoints is not begun again', async () => {
  const short = config({ train: { steps: 9, checkpointEvery: 3 } })
  const begun = async (last: number) => {
    await rm(directory, { recursive: true, force: true })
    const run = await RunDirectory.open(directory, short, false)
    await run.logs.rewind(0)
    log(run, 1, last)
    await run.close()
    return RunDirectory.open(directory, short, true)
  }
  const early = await begun(3)
  await early.refuseLostCheckpoints()
  await mkdir(early.checkpoints)
  await expect(early.refuseLostCheckpoints()).rejects.toThrow(/was trained to step 3, but its checkpoints are gone/)
  await early.close()
  const late = await begun(4)
  await expect(late.refuseLostCheckpoints()).rejects.toThrow(/is a disk not mounted at .*checkpoints\?/)
  await late.close()
})

test('a run that is continued without a further record adds no event file', async () => {
  const eventFiles = async () => (await readdir(directory)).filter((name) => name.startsWith('events.out.tfevents.'))
  const run = await RunDirectory.open(directory, config(), false)
  await run.logs.rewind(0)
  log(run, 1, 3)
  await run.close()
  const first = await eventFiles()
  expect(first).toHaveLength(1)
  const finished = await RunDirectory.open(directory, config(), true)
  await finished.logs.rewind(3)
  await finished.close()
  expect(await eventFiles()).toEqual(first)
  const continued = await RunDirectory.open(directory, config(), true)
  await continued.logs.rewind(3)
  log(continued, 4, 4)
  await continued.close()
  expect(await eventFiles()).toHaveLength(2)
})

test('TensorBoard gets every scalar of a record under train, routing or eval', async () => {
  const run = await RunDirectory.open(directory, config(), false)
  await run.logs.rewind(0)
  log(run, 3, 3)
  await run.close()
  const name = (await readdir(directory)).find((entry) => entry.startsWith('events.out.tfevents.'))
  const events = await readFile(join(directory, name as string), 'latin1')
  // A tag ends where the key of its value begins: field 2, four bytes.
  const parts = events.split(String.fromCharCode((2 << 3) | 5))
  const tags = parts.flatMap((part) => /(?:train|routing|eval)\/[\w/]+$/.exec(part) ?? [])
  expect(tags).toEqual([
    ...[
      'tokens',
      'loss',
      'aux_loss',
      'z_loss',
      'learning_rate',
      'grad_norm',
      'tokens_per_second',
      'step_ms',
      'mfu',
    ].map((field) => `train/${field}`),
    ...['drop_rate', 'unserved_rate', 'load_cv', 'load_cv_kept', 'dead_experts'].map((field) => `routing/${field}`),
    // A router without weights has no entropy: null is no scalar.
    ...['gate_mean', 'entropy_share'].map((field) => `routing/${field}`),
    'eval/tokens',
    'eval/loss',
    'eval/dropless/loss',
  ])
})
