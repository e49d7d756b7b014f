import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { presetNames, presets } from '../../core/config/presets.ts'
import { runSchema } from '../../core/config/run-config.ts'
import { RunError, UsageError } from '../../core/errors.ts'
import { loadConfig, loadRunConfig } from './load-config.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-config-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

async function refusal(source: string | undefined, ...sets: string[]): Promise<string> {
  const error: unknown = await loadConfig(source, sets).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(UsageError)
  return (error as UsageError).message
}

/** Ten lists, each of ten aliases of the list before it: 10^10 values. */
const aliases = Array.from({ length: 10 }, (_, i) =>
  i === 0 ? 'a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n' : `a${i}: &a${i} [${Array(10).fill(`*a${i - 1}`)}]\n`,
).join('')

describe('presets', () => {
  test.each(presetNames)('%s is valid and has a description', async (name) => {
    expect(await loadConfig(name, [])).toEqual(runSchema.parse(presets[name].config))
    expect(presets[name].description).toMatch(/^\S.{10,100}$/)
  })

  test('base has the 1.385 B parameters of L·N·2·d·f + L·4d² + V·d', async () => {
    const { model } = await loadConfig('base', [])
    const { layers, width, vocabulary, moe } = model
    const total =
      layers * (moe?.experts ?? 0) * 2 * width * (moe?.hidden ?? 0) + layers * 4 * width ** 2 + vocabulary * width
    expect(Math.round(total / 1e6)).toBe(1385)
  })
})

describe('layers of a configuration', () => {
  test('without a source, the schema gives the defaults', async () => {
    expect(await loadConfig(undefined, [])).toEqual(runSchema.parse({}))
  })

  test('an assignment wins over the preset, and a later assignment over an earlier', async () => {
    const config = await loadConfig('tiny', ['train.steps=7', 'train.steps=9', 'model.moe.k=2'])
    expect(config.train.steps).toBe(9)
    expect(config.model.moe).toMatchObject({ k: 2, experts: 4 })
    expect(config.train.batch).toBe(4)
  })

  test('loading never changes a preset', async () => {
    await loadConfig('tiny', ['model.moe.k=2', 'model.moe=null'])
    expect((await loadConfig('tiny', [])).model.moe?.k).toBe(1)
  })

  test.each([
    ['model.moe=null', { model: { moe: null } }],
    ['model.tied=false', { model: { tied: false } }],
    ['train.steps=12', { train: { steps: 12 } }],
    ['train.optimizer.weightDecay=0.25', { train: { optimizer: { weightDecay: 0.25 } } }],
    ['train.schedule.learningRate=1e-4', { train: { schedule: { learningRate: 1e-4 } } }],
    ['model.moe={experts: 2, router: switch}', { model: { moe: { experts: 2, router: 'switch' } } }],
    ['data.source=[a.txt, "b c.txt"]', { data: { source: ['a.txt', 'b c.txt'] } }],
    ['data.source=*.txt', { data: { source: '*.txt' } }],
    ['data.source=-', { data: { source: '-' } }],
    ['data.source=a: b', { data: { source: 'a: b' } }],
    ['data.field="12"', { data: { field: '12' } }],
    ['data.field=', { data: { field: '' } }],
    ['data.source=C:\\books=old\\a.txt', { data: { source: 'C:\\books=old\\a.txt' } }],
  ])('take the value of --set %s', async (set, expected) => {
    expect(await loadConfig(undefined, [set])).toMatchObject(expected)
  })

  test('a file may start from a preset; its fields merge into the preset', async () => {
    const path = await file('from-s.yaml', 'preset: S\nmodel:\n  moe:\n    k: 2\ntrain: { steps: 5 }\n')
    const config = await loadConfig(path, ['train.batch=8'])
    expect(config.model.moe).toMatchObject({ k: 2, experts: 16 })
    expect(config.train).toMatchObject({ steps: 5, batch: 8 })
  })

  test('JSON and YAML give the same configuration', async () => {
    const json = await file('a.json', '{\n\t"model": { "layers": 3, "moe": null }\n}')
    const yaml = await file('a.yaml', 'model:\n  layers: 3 # three\n  moe: null\n')
    expect(await loadConfig(json, [])).toEqual(await loadConfig(yaml, []))
  })

  test('an empty file is refused, and a file with a comment alone gives the defaults', async () => {
    await expect(loadConfig(await file('nothing.yaml', '\n'), [])).rejects.toThrow(/nothing\.yaml: the file is empty/)

    expect(await loadConfig(await file('empty.yaml', '# nothing yet\n'), [])).toEqual(runSchema.parse({}))
  })
})

test('an empty entry of a list is refused in plain words', async () => {
  expect(await refusal('tiny', 'train.freeze=[""]')).toContain(
    'invalid train.freeze.0: "" (expected text that is not empty)',
  )
})

describe('a refusal', () => {
  test.each([
    [
      'model.moe.router=topk',
      'invalid model.moe.router: "topk" (expected top-k, switch, prototype, sinkhorn, bias, expert-choice, hash, random or a file such as ./my-router.ts; did you mean "top-k"?)',
    ],
    // The name that stored configurations have is not one that users write.
    [
      'model.moe.router=Own',
      'invalid model.moe.router: "Own" (expected top-k, switch, prototype, sinkhorn, bias, expert-choice, hash, random or a file such as ./my-router.ts)',
    ],
    [
      'train.schedule.kind=linear',
      'invalid train.schedule.kind: "linear" (expected cosine, inverse-sqrt, constant, wsd or a file such as ./my-schedule.ts)',
    ],
    [
      'train.optimizer.kind=adm',
      'invalid train.optimizer.kind: "adm" (expected adamw, adafactor or a file such as ./my-optimizer.ts; did you mean "adamw"?)',
    ],
    ['train.steps=many', 'invalid train.steps: "many" (expected a positive integer)'],
    ['train.steps=1.5', 'invalid train.steps: 1.5 (expected a positive integer)'],
    ['train.steps=', 'invalid train.steps: "" (expected a positive integer)'],
    ['model.tied=yes', 'invalid model.tied: "yes" (expected true or false)'],
    ['data.heldOut=1', 'invalid data.heldOut: 1 (expected a number above 0 and below 1)'],
    ['train.optimizer.beta1=1', 'invalid train.optimizer.beta1: 1 (expected a number at least 0 and below 1)'],
    ['train.schedule.learningRate=.inf', 'invalid train.schedule.learningRate: Infinity (expected a positive number)'],
    ['data.source=[]', 'invalid data.source: [] (expected text or a non-empty list of text)'],
    ['data.source=null', 'invalid data.source: null (expected text or a non-empty list of text)'],
    ['model.heads=7', 'invalid model.heads: 7 (must divide width 256, or set headWidth)'],
    // The invalid field may be one that the user did not set.
    ['model.width=250', 'invalid model.heads: 4 (must divide width 250, or set headWidth)'],
    ['data.tokenizer.path=t.json', 'invalid data.tokenizer.path: "t.json" (is needed for kind "file", and only there)'],
    ['data.tokenizer.kind=file', 'invalid data.tokenizer.path (is needed for kind "file", and only there)'],
    ['train.steps', 'invalid set: "train.steps" (expected path=value, such as train.steps=500)'],
    ['=3', 'invalid set: "=3" (expected path=value, such as train.steps=500)'],
    ['__proto__.x=3', 'invalid set: "__proto__.x=3" (expected path=value, such as train.steps=500)'],
  ])('of %s names the field, the value and what is accepted', async (set, message) => {
    expect(await refusal(undefined, set)).toBe(message)
  })

  test.each([
    ['model.layers=1000000', 'invalid model.layers: 1000000 (expected at most 1,000: the deepest published models'],
    ['model.vocabulary=1e12', 'invalid model.vocabulary: 1000000000000 (expected at most 16,777,216: no published'],
    ['model.headWidth=1e9', 'invalid model.headWidth: 1000000000 (expected at most 1,048,576: '],
    ['runtime.threads=1e9', 'invalid runtime.threads: 1000000000 (expected at most 1,024: threads beyond the cores'],
    ['train.batch=1e300', 'invalid train.batch: 1e+300 (expected at most 16,777,216: '],
    ['model.moe.experts=1e7', 'invalid model.moe.experts: 10000000 (expected at most 65,536: no published model'],
  ])('of %s, which is beyond any model, gives the reason', async (set, message) => {
    expect((await refusal(undefined, set)).slice(0, message.length)).toBe(message)
  })

  test.each<[string, string, RegExp]>([
    ['an alias inside of what it refers to', 'model: &m\n  moe: *m\n', /\*m is inside of what it refers to$/],
    ['a list in itself', 'a: &a [*a]', /\*a is inside of what it refers to$/],
    ['a tag of JavaScript', 'train:\n  steps: !!js 5\n', /line 2, column 10: Unresolved tag: !!js$/],
    ['a tag of its own', 'model: !model {}\n', /line 1, column 8: Unresolved tag: !model$/],
    ['a prototype', '__proto__:\n  layers: 2\n', /unknown field __proto__$/],
    ['a prototype in a section', '{"model": {"__proto__": {"layers": 2}}}', /unknown field model\.__proto__$/],
    ['100,000 lists in each other', '['.repeat(1e5), /it is nested more than 32 deep$/],
    ['50,000 lists in lines', `${'- '.repeat(5e4)}a`, /it is nested more than 32 deep$/],
    ['a value that is nested 40 deep', `model: ${'['.repeat(40)}${']'.repeat(40)}`, /nested more than 32 deep/],
    ['JSON that is nested deeply', `${'{"a":'.repeat(1e5)}1${'}'.repeat(1e5)}`, /nested more than 32 deep/],
    ['keys in keys', '? '.repeat(1e4), /nested more than 32 deep/],
    ['many aliases of aliases', aliases, /alias/i],
    ['20,000 fields', 'a: 1\n'.repeat(20_000), /it has more than 10,000 values \(no configuration has\)$/],
    ['a file of zeros', '\0'.repeat(99), /it is a binary file \(expected YAML or JSON\)$/],
    ['5 MB of text', 'a'.repeat(5e6), /it has 5\.00 MB \(expected YAML or JSON of at most 4\.00 MB\)$/],
  ])('of a file with %s gives the reason in one line', async (_, text, message) => {
    const refused = await refusal(await file('hostile.yaml', text))
    expect(refused).toMatch(message)
    expect(refused).not.toMatch(/call stack|\n/)
  })

  test.each([
    ['model=[&a [*a]]', '(*a is inside of what it refers to)'],
    ['model={a: !!js 3}', '(column 5 of the value: Unresolved tag: !!js)'],
    ['model={__proto__: {layers: 3}}', 'unknown field __proto__'],
  ])('of --set %s gives the reason', async (set, message) => {
    expect(await refusal('tiny', set)).toContain(message)
  })

  test('of 5,000 unknown fields, or of a name of 5,000 characters, is short', async () => {
    const fields = Array.from({ length: 5000 }, (_, i) => `key${i}: 1\n`).join('')
    const lines = (await refusal(await file('many.yaml', fields))).split('\n')
    expect(lines[0]).toBe('5,000 problems in the configuration')
    expect(lines).toHaveLength(22)
    expect(lines.at(-1)).toBe('  and 4,980 more')
    expect((await refusal(undefined, `model.${'a'.repeat(5000)}=3`)).length).toBeLessThan(1000)
    for (const name of ['a'.repeat(5000), `${'a'.repeat(5000)}.yaml`, 'a\0b.yaml'])
      expect((await refusal(name)).length).toBeLessThan(200)
  })

  test('concerns groups that end inside a sequence only with priority by position and a capacity', async () => {
    const sets = ['train.batch=8', 'train.microBatches=2', 'model.moe.groups=8']
    const load = (...more: string[]) => loadConfig('tiny', [...sets, ...more])
    await expect(load()).rejects.toThrow(
      'invalid model.moe.groups: 8 (must divide the 4 sequences of a micro-batch with model.moe.priority "position"',
    )
    await expect(load('model.moe.groups=3')).rejects.toThrow('must divide the tokens of a micro-batch')
    for (const more of ['model.moe.groups=4', 'model.moe.priority=token', 'model.moe.capacity=none'])
      expect((await load(more)).model.moe).toBeDefined()
  })

  test.each([
    [
      'expert-choice',
      'capacity=none',
      'capacity: "none" (must be "1x" or "kx": the capacity is the number of tokens that each expert takes)',
    ],
    [
      'expert-choice',
      'priority=gate',
      'priority: "gate" (must be "position" (the default): each expert takes the tokens with the largest gates)',
    ],
    ['expert-choice', 'softmax=after', 'softmax: "after" (must be "before": the gate is the softmax over all experts)'],
    [
      'expert-choice',
      'renormalize=true',
      'renormalize: true (must be false: the gate is the softmax over all experts)',
    ],
    [
      'expert-choice',
      'balance.form=gshard',
      'balance.form: "gshard" (must be "switch": there are no first choices to count)',
    ],
    ['expert-choice', 'prototypes=2', 'prototypes: 2 (must be 1 unless router is "prototype")'],
    ['sinkhorn', 'prototypes=2', 'prototypes: 2 (must be 1 unless router is "prototype")'],
    ['sinkhorn', 'sinkhornIterations=0', 'sinkhornIterations: 0 (expected a positive integer)'],
    ['bias', 'k=9', 'k: 9 (must be at most experts 8)'],
    ['bias', 'biasRate=-1', 'biasRate: -1 (expected a number at least 0)'],
    [
      'hash',
      'selection=sequential',
      'selection: "sequential" (must be "fused" for "hash", where tokens do not choose their best experts)',
    ],
  ])('of router %s with %s gives the reason', async (router, set, message) => {
    expect(await refusal(undefined, `model.moe.router=${router}`, `model.moe.${set}`)).toBe(
      `invalid model.moe.${message}`,
    )
  })

  test.each([
    ['model.moe.expert=8', 'unknown field model.moe.expert: 8 (', 'did you mean "model.moe.experts"?)'],
    [
      'steps=8',
      'unknown field steps: 8 (accepted: model, data, train, parallel, runtime',
      'did you mean "train.steps"?)',
    ],
    ['train.learningRate=1', 'unknown field train.learningRate: 1 (', 'did you mean "train.schedule.learningRate"?)'],
    ['model.k=1', 'unknown field model.k: 1 (', 'did you mean "model.moe.k"?)'],
    [
      'train.kind=x',
      'unknown field train.kind: "x" (',
      'did you mean "train.optimizer.kind" or "train.schedule.kind"?)',
    ],
    ['constructor.x=1', 'unknown field constructor: {"x":1} (', 'accepted: model, data, train, parallel, runtime)'],
    ['model.moe={a', 'invalid set: "model.moe={a" (column 3 of the value: ', ')'],
  ])('of %s is one line, with accepted fields and the nearest name if there are any', async (set, start, end) => {
    const message = await refusal(undefined, set)
    expect(message.slice(0, start.length)).toBe(start)
    expect(message.slice(-end.length)).toBe(end)
    expect(message).not.toContain('\n')
  })

  test('lists every problem, rules between fields included', async () => {
    const message = await refusal(undefined, 'modl=1', 'model.moe.router=topk', 'model.moe.k=0', 'train.microBatches=3')
    expect(message.split('\n')).toEqual([
      '4 problems in the configuration',
      expect.stringContaining('model.moe.router: "topk"'),
      expect.stringContaining('model.moe.k: 0'),
      expect.stringContaining('unknown field modl: 1'),
      expect.stringContaining('invalid train.microBatches: 3 (must divide train.batch 16)'),
    ])
  })

  test('concerns a share of the decay only for schedules without a decay, or if it is out of range', async () => {
    expect(
      (await loadConfig(undefined, ['train.schedule.kind=wsd', 'train.schedule.decay=0.1'])).train.schedule,
    ).toMatchObject({ kind: 'wsd', learningRate: 1e-3, warmup: 100, final: 0.1, decay: 0.1 })
    expect(await refusal(undefined, 'train.schedule.decay=0.1')).toContain(
      'invalid train.schedule.decay: 0.1 (must be 0.2 (the default) with train.schedule.kind "cosine"',
    )
    expect(await refusal(undefined, 'train.schedule.kind=wsd', 'train.schedule.decay=1.5')).toContain(
      'invalid train.schedule.decay: 1.5',
    )
    // Stored configurations contain the default.
    expect((await loadConfig(undefined, ['train.schedule.decay=0.2'])).train.schedule.decay).toBe(0.2)
  })

  test('concerns compact moments on devices and with optimizers that do not have them', async () => {
    expect(await refusal(undefined, 'train.optimizer.state=int8', 'runtime.device=webgpu')).toBe(
      'invalid train.optimizer.state: "int8" (must be "float32" with runtime.device "webgpu": compact moments are for the CPU)',
    )
    expect(await refusal(undefined, 'train.optimizer.state=bf16', 'train.optimizer.kind=adafactor')).toContain(
      'invalid train.optimizer.state: "bf16" (must be "float32" with train.optimizer.kind "adafactor"',
    )
  })

  test.each([
    ['kind=own', 'kind: "own" (must be the path of the file of your optimizer, such as ./my-optimizer.ts)'],
    [
      'settings.momentum=0.9',
      'settings: {"momentum":0.9} (must be {} with train.optimizer.kind "adamw": only an optimizer',
    ],
    ['settings.momentum=[1]', 'settings.momentum: [1] (expected a number, text, true or false)'],
    ['own=mine@0123456789abcdef', 'own: "mine@0123456789abcdef" (must be null unless train.optimizer.kind is "own")'],
  ])("concerns fields of an optimizer of one's own: %s", async (set, message) => {
    expect(await refusal(undefined, `train.optimizer.${set}`)).toContain(`invalid train.optimizer.${message}`)
  })

  test('of a malformed value reports no false problems in its neighbours', async () => {
    // heads 5 may divide the intended width, but not the default width.
    expect(await refusal(undefined, 'model.width=wide', 'model.heads=5')).toBe(
      'invalid model.width: "wide" (expected a positive integer)',
    )
  })

  test('distinguishes a misspelt preset from a missing file', async () => {
    expect(await refusal('dmeo')).toBe(
      'unknown preset "dmeo" (expected tiny, demo, S, M or base, or a YAML or JSON file; did you mean "demo"?)',
    )
    await file('mine.yaml', '')
    const missing = await refusal(join(folder, 'mien.yaml'))
    expect(missing).toMatch(/^no such file: /)
    expect(missing).toContain(`did you mean "${join(folder, 'mine.yaml')}"?`)
    expect(await refusal('nowhere/at/all.json')).toMatch(/^no such file: "nowhere\/at\/all.json"/)
  })

  test('of a folder states that it is a folder', async () => {
    expect(await refusal(folder)).toContain('is a folder')
  })

  test('of an unknown preset in a file names the nearest preset', async () => {
    expect(await refusal(await file('p.yaml', 'preset: Demo\n'))).toBe(
      'invalid preset: "Demo" (expected tiny, demo, S, M or base; did you mean "demo"?)',
    )
  })

  test.each([
    ['broken.yaml', 'model:\n  layers: 3\n  width: [1, 2\n', /line 4, column 1: /],
    ['twice.yaml', 'train:\n  steps: 1\n  steps: 2\n', /line 3, column 3: .*unique/],
    ['broken.json', '{\n  "model": {,}\n}', /line 2, column 13: /],
  ])('of %s gives line and column', async (name, text, expected) => {
    expect(await refusal(await file(name, text))).toMatch(expected)
  })

  test('of a file that is too large for a configuration, or of a device, gives the reason', async () => {
    const large = await file('large.yaml', `# ${'x'.repeat(2 ** 24)}\n`)
    expect(await refusal(large)).toMatch(/cannot read configuration ".*large\.yaml": it has more than 16\.8 MB/)
    if (process.platform === 'linux')
      expect(await refusal('/dev/zero')).toBe('cannot read configuration "/dev/zero": it is a device (expected a file)')
  })

  test('of a file of another shape lists the expected fields', async () => {
    expect(await refusal(await file('list.yaml', '- 1\n- 2\n'))).toMatch(/: \[1,2\] \(expected fields such as model:/)
    expect(await refusal(await file('hollow.yaml', 'train:\n'))).toMatch(
      /^invalid train: null \(expected a group of fields: steps, batch, /,
    )
  })
})

describe('the configuration of a run', () => {
  test('is read back from config.json, whatever else the file contains', async () => {
    const config = await loadConfig('tiny', [])
    await file('config.json', JSON.stringify({ version: '0.1.0', preset: 'tiny', ...config }))
    expect(await loadRunConfig(folder)).toEqual(config)
    await file('config.json', JSON.stringify({ version: '0.1.0', config }))
    expect(await loadRunConfig(folder)).toEqual(config)
    expect((await loadRunConfig(folder, ['train.steps=99'])).train.steps).toBe(99)
  })

  test('has consecutive hash choices if it was stored before independent choices existed', async () => {
    const config = await loadConfig('tiny', ['model.moe.router=hash', 'model.moe.k=2'])
    expect(config.model.moe?.hashChoices).toBe('independent')
    const { hashChoices: _, ...moe } = config.model.moe as NonNullable<typeof config.model.moe>
    await file('config.json', JSON.stringify({ config: { ...config, model: { ...config.model, moe } } }))
    expect((await loadRunConfig(folder)).model.moe?.hashChoices).toBe('consecutive')
    await file('config.json', JSON.stringify({ config }))
    expect((await loadRunConfig(folder)).model.moe?.hashChoices).toBe('independent')
  })

  test('is a configuration file too, from which another run can begin', async () => {
    const config = await loadConfig('tiny', ['train.steps=7'])
    const facts = { version: '0.1.0', created: '2026-01-01T00:00:00.000Z', changes: [{ field: 'train.steps' }] }
    await file('config.json', JSON.stringify({ ...facts, ...config }))
    expect(await loadConfig(join(folder, 'config.json'), [])).toEqual(config)
  })

  test('is an error if the run is missing or damaged', async () => {
    await expect(loadRunConfig(join(folder, 'none'))).rejects.toThrow(UsageError)
    await file('config.json', '{"model": ')
    await expect(loadRunConfig(folder)).rejects.toThrow(RunError)
    await mkdir(join(folder, 'odd', 'config.json'), { recursive: true })
    await expect(loadRunConfig(join(folder, 'odd'))).rejects.toThrow(/cannot read .*config\.json: it is a folder/)
  })
})
