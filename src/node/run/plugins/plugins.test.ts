import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { constant } from '../../../core/graph/tensor.ts'
import { ownRouters } from '../../../core/model/routing/own.ts'
import { sha256 } from '../../../core/sha256.ts'
import { checkRates } from '../../../train/step/optimizer/own-schedule.ts'
import { learningRate } from '../../../train/step/optimizer/schedule.ts'
import { loadConfig } from '../load-config.ts'
import { withoutReplaced } from './kinds.ts'
import { expectPlugins, loadAnyPlugin, loadPlugin, unkeptPlugins, unkeptWarning, usePlugin } from './plugins.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'choir-router-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

const plain = `import { matmul, reshape, softmax, topK as best } from 'choir/graph'
import type { Router } from 'choir'
const router: Router = {
  parameters: ({ moe, width }) => ({ weight: { shape: [width, moe.experts], init: 'normal' } }),
  choose({ moe, x_TD, weights }) {
    const logits = matmul(x_TD, weights.weight as never)
    const [gate_TK, expert_TK] = best(softmax(logits), moe.k)
    const shape = [x_TD.shape[0] as number, 1, moe.experts]
    return { expert_TK, gate_TK, logits_TZN: reshape(logits, shape), probability_TZN: reshape(softmax(logits), shape) }
  },
}
export default router
`

const withRouter = (own: string) => ({ model: { moe: { router: 'own', own } } })

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

test('a plugin that cannot be kept is used, with a warning that names the folder and what follows', async () => {
  const path = await file('unkept.ts', `${plain}// unkept\n`)
  const [blocked, writable] = [await file('no-folder', ''), join(folder, 'writable')]
  vi.stubEnv('XDG_CACHE_HOME', blocked)
  const config = await loadConfig('tiny', [`model.moe.router=${path}`, 'model.moe.prototypes=1'])
  const id = config.model.moe?.own ?? ''
  expect(ownRouters.has(id)).toBe(true)
  const [warning = '', ...others] = unkeptPlugins([config, config])
  expect(others).toEqual([])
  expect(warning).toContain(`cannot keep the router ${id} in ${join(blocked, 'choir', 'routers')} (`)
  expect(warning).toMatch(/other processes do not find it: .*make the folder writable, or set XDG_CACHE_HOME/)
  expect(unkeptWarning(id)).toBe(warning)
  expect(unkeptPlugins([await loadConfig('tiny', [])])).toEqual([])
  // A command that can keep it has nothing to warn about.
  vi.stubEnv('XDG_CACHE_HOME', writable)
  expect(await loadPlugin('router', path)).toBe(id)
  expect(unkeptPlugins([config])).toEqual([])
})

test('the path of a router in a configuration becomes its name and the hash of its text', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'))
  const path = await file('My_Plain.ts', plain)
  const { model } = await loadConfig('tiny', [`model.moe.router=${path}`, 'model.moe.prototypes=1'])
  const id = `my-plain@${(await sha256(plain)).slice(0, 16)}`
  expect(model.moe).toMatchObject({ router: 'own', own: id })
  expect(await readFile(join(folder, 'cache', 'choir', 'routers', `${id}.ts`), 'utf8')).toBe(plain)
})

test.each<[string, string, RegExp]>([
  ['missing.ts', '', /^invalid model\.moe\.router: ".*missing\.ts" cannot be read: ENOENT/],
  ['router.py', 'x', /ends in "\.py" \(expected \.ts, \.mts, \.js, \.mjs\)/],
  ['broken.js', 'export default {', /cannot be loaded: line 1, column 17: Unexpected end of input/],
  ['comma.js', 'export default {\n  a: 1\n  b: 2,\n}', /cannot be loaded: line 3, column 3: Unexpected identifier 'b'/],
  ['broken.ts', '\nconst x: = 5', /is no TypeScript whose types can be left out: line 2, column 10: Unexpected token/],
  ['throws.js', '\nthrow new Error("my own fault")', /cannot be loaded: line 2: my own fault/],
  ['nothing.js', 'const choose = 5', /is no router: its default export is nothing/],
  [
    'named.js',
    'export const router = { choose() {} }',
    /has no default export \(it exports router; expected: export default router\)/,
  ],
  [
    'misspelt.js',
    'export default { chose() {} }',
    /is no router: unknown field chose \(accepted: name, settings, parameters, choose, sees; did you mean choose\?\)/,
  ],
  ['sees.js', 'export default { choose() {}, sees: "all" }', /invalid sees: "all" \(expected "token", "past"/],
  ['name.js', 'export default { choose() {}, name: "Mine!" }', /invalid name: "Mine!"/],
  ['imports.ts', "import x from '../other.ts'\nexport default x", /cannot be loaded: .*a plugin is one file/],
  [
    'misspelt-import.js',
    "\nimport { topKK } from 'choir/graph'\nexport default {}",
    /cannot be loaded: line 2: choir\/graph does not export topKK \(did you mean topK\?\)/,
  ],
  [
    'import-of-node.js',
    "import { readFileSink } from 'node:fs'\nexport default {}",
    /cannot be loaded: line 1: The requested module 'node:fs' does not provide an export named 'readFileSink'/,
  ],
  ['null.js', 'throw null', /cannot be loaded: null/],
  ['//host/share/router.js', '', /is on another machine/],
])('%s is refused, with the fault', async (name, text, message) => {
  if (text !== '') await file(name, text)
  await expect(loadPlugin('router', name.startsWith('//') ? name : join(folder, name))).rejects.toThrow(message)
})

test('an error of a function names file and line, also where an operation of choir/graph throws', async () => {
  const functions = `import { reshape, type Tensor } from 'choir/graph'
export default {
  parameters({ width }: { width: number }) {
    if (width > 64) throw new Error('too wide')
    return {}
  },
  choose({ x_TD }: { x_TD: Tensor }) {
    return help(x_TD)
  },
}
function help(x: Tensor) {
  return reshape(x, [5])
}
`
  const router = ownRouters.get(await loadPlugin('router', await file('my-faults.ts', functions)))
  const input = (width: number) => ({ moe: { k: 1, prototypes: 1, experts: 4 }, width, settings: {} }) as never
  expect(() => router.parameters?.(input(65))).toThrow(
    /^router my-faults: parameters: line 4 of my-faults\.ts: too wide$/,
  )
  expect(() =>
    router.choose({ x_TD: constant(new Float32Array(6), 'float32', [2, 3]), settings: {} } as never),
  ).toThrow(/^router my-faults: choose: line 12 of my-faults\.ts: .+/)
})

test('a copy of the file under another name is the router of the run', async () => {
  const text = `\uFEFF${plain.replace('matmul(', 'matmul( ')}`
  const id = `elsewhere@${(await sha256(text.slice(1))).slice(0, 16)}`
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'copies'))
  await loadPlugin('router', await file('router.ts', text.slice(1)))
  await expectPlugins(withRouter(id), 'the run')
  expect(ownRouters.get(id).name).toBe('elsewhere')
  await loadPlugin(
    'router',
    await file('marked.js', `\uFEFFimport { topK } from "choir/graph"\nexport default { choose: topK }`),
  )
})

test('many processes that load a router leave it whole', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'shared'))
  const long = `${plain}// ${'x'.repeat(200_000)}\n`
  const path = await file('long.ts', long)
  const ids = await Promise.all(Array.from({ length: 8 }, () => loadPlugin('router', path)))
  expect(await readFile(join(folder, 'shared', 'choir', 'routers', `${ids[0]}.ts`), 'utf8')).toBe(long)
})

test('the configuration of a stored run names no file', async () => {
  const stored = { version: '0.1.0', created: '2026-01-01', model: { moe: { router: '../evil.js' } } }
  await expect(loadConfig(await file('config.json', JSON.stringify(stored)), [])).rejects.toThrow(/stores no path/)
})

describe('a run with a router that no command of this user has loaded', () => {
  test('is refused, and its program is not run', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'empty'))
    const run = join(folder, 'run')
    await mkdir(run, { recursive: true })
    await writeFile(join(run, 'router.ts'), 'globalThis.isOwned = true')
    await expect(expectPlugins(withRouter('strange@0123456789abcdef'), `the run ${run}`, run)).rejects.toThrow(
      /router strange@.*choir check FILE/s,
    )
    expect(globalThis).not.toHaveProperty('isOwned')
  })

  test('is refused if the kept program is not the one that its hash names', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'changed'))
    const kept = join(folder, 'changed', 'choir', 'routers')
    await mkdir(kept, { recursive: true })
    await writeFile(join(kept, 'strange@0123456789abcdef.ts'), plain)
    await expect(expectPlugins(withRouter('strange@0123456789abcdef'), 'the run')).rejects.toThrow(/was changed/)
  })
})

test('a router in code is known by its functions: another function is another router', async () => {
  const make = (factor: number) => ({ name: 'mine', choose: () => ({ factor }) as never })
  const router = make(1)
  const one = await usePlugin('router', router)
  expect(one).toMatch(/^mine@[0-9a-f]{16}$/)
  expect(await usePlugin('router', router)).toBe(one)
  await expect(usePlugin('router', make(2))).rejects.toThrow(/another router is named "mine" and has the same text/)
  expect(await usePlugin('router', { name: 'mine', choose: () => ({ x: 1 }) as never })).not.toBe(one)
  await expect(usePlugin('router', { name: 'mine' } as never)).rejects.toThrow(/invalid router: invalid choose/)
})

test('the path of a schedule in a configuration is the schedule of its training', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'schedules'))
  const path = await file(
    'triangle.ts',
    `export default { rate: ({ step, steps, learningRate }: { step: number; steps: number; learningRate: number }) =>
       learningRate * (1 - Math.abs((2 * step) / steps - 1)) }`,
  )
  const { train } = await loadConfig('tiny', [`train.schedule.kind=${path}`, 'train.schedule.learningRate=0.5'])
  expect(train.schedule).toMatchObject({ kind: 'own', own: expect.stringMatching(/^triangle@/) })
  expect([1, 2, 3, 4].map((step) => learningRate(train.schedule, step, 4))).toEqual([0.25, 0.5, 0.25, 0])
  const builtIn = await loadConfig('tiny', [`train.schedule.kind=${path}`, 'train.schedule.kind=constant'])
  expect(builtIn.train.schedule).toMatchObject({ kind: 'constant', own: null })
})

test('the path of an optimizer in a configuration is its name and hash; a device and compact moments are refused', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'optimizers'))
  const kind = 'train.optimizer.kind=examples/optimizers/muon.ts'
  const { train } = await loadConfig('tiny', [kind, 'train.optimizer.settings.momentum=0.8'])
  expect(train.optimizer).toMatchObject({
    kind: 'own',
    own: expect.stringMatching(/^muon@[0-9a-f]{16}$/),
    settings: { momentum: 0.8 },
  })
  await expect(loadConfig('tiny', [kind, 'runtime.device=webgpu'])).rejects.toThrow(
    'invalid train.optimizer.kind: "own" (must be "adamw" or "adafactor" with runtime.device "webgpu": an optimizer of ' +
      'your own is computed on the CPU (use runtime.device "cpu"))',
  )
  await expect(loadConfig('tiny', [kind, 'train.optimizer.state=int8'])).rejects.toThrow(
    /state: "int8" \(must be "float32" with train\.optimizer\.kind "own", whose state is its own/,
  )
})

test.each([
  ['5', /invalid settings: 5 \(expected names with their defaults\)/],
  ['{ a: [1] }', /invalid settings\.a: \[1\] \(expected a default: a number, text, true or false\)/],
  ['{ a: NaN }', /invalid settings\.a: NaN/],
  ['{ "a.b": 1 }', /invalid name in settings: "a\.b" \(expected letters and digits\)/],
])('settings of an optimizer that are no defaults are refused: %s', async (settings, message) => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'optimizers'))
  const path = await file('settings.js', `export default { settings: ${settings}, update() {} }`)
  await expect(loadPlugin('optimizer', path)).rejects.toThrow(message)
})

test('optimizers in code that differ in the defaults of their settings are different', async () => {
  const update = ({ parameter }: { parameter: never }) => ({ parameter })
  const [one, two] = [0.1, 0.2].map((size) => ({ name: 'sized', settings: { size }, update }))
  expect(await usePlugin('optimizer', one as never)).not.toBe(await usePlugin('optimizer', two as never))
})

test.each([
  ['rate: () => NaN', /schedule test: rate returned NaN at step 1 of 3/],
  ['rate: ({ step }) => 2 - step', /rate returned -1 at step 3 of 3/],
  ['rate: (() => { let calls = 0; return () => ++calls })()', /rate returned 3 at step 3, and then 4/],
])('a schedule whose rates are no rates is refused before the first step: %s', async (rate, message) => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'schedules'))
  const path = await file('rates.js', `export default { name: 'test', ${rate} }`)
  const { train } = await loadConfig('tiny', [`train.schedule.kind=${path}`, 'train.steps=3'])
  expect(() => checkRates(train)).toThrow(message)
})

test('the example of a schedule has periods of 1, 2 and 4 parts, each a cosine from the peak', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'schedules'))
  const { train } = await loadConfig('tiny', [
    'train.schedule.kind=examples/schedules/warm-restarts.ts',
    'train.steps=74',
    'train.schedule.warmup=4',
    'train.schedule.final=0',
    'train.schedule.learningRate=1',
  ])
  checkRates(train)
  const rate = (step: number) => learningRate(train.schedule, step, train.steps)
  expect(rate(2)).toBe(0.5)
  // Periods of 10, 20 and 40 steps: half of the peak in the middle, nothing at the end.
  for (const [start, length] of [
    [4, 10],
    [14, 20],
    [34, 40],
  ] as const) {
    expect(rate(start + length / 2)).toBeCloseTo(0.5, 12)
    expect(rate(start + length)).toBeCloseTo(0, 12)
    expect(rate(start + 1)).toBeGreaterThan(0.97)
  }
})

test('a plugin may be an instance of a class, whose hash is that of its methods', async () => {
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'classes'))
  const text = (rate: string) => `class Mine { scale = 2; rate() { return ${rate} * this.scale } }
    const mine = new Mine()
    delete mine.scale
    Object.defineProperty(mine, 'scale', { value: 2, enumerable: false })
    export default mine`
  const path = await file('mine.js', text('0.25'))
  const { train } = await loadConfig('tiny', [`train.schedule.kind=${path}`])
  expect(learningRate(train.schedule, 1, 10)).toBe(0.5)
  // Another process loads it by its hash.
  vi.resetModules()
  const other = await import('../load-config.ts')
  const { learningRate: rateThere } = await import('../../../train/step/optimizer/schedule.ts')
  const again = await other.loadConfig('tiny', ['train.schedule.kind=own', `train.schedule.own=${train.schedule.own}`])
  expect(rateThere(again.train.schedule, 1, 10)).toBe(0.5)
  class Constant {
    readonly name = 'constant'
    rate() {
      return 1
    }
  }
  class Doubled {
    readonly name = 'constant'
    rate() {
      return 2
    }
  }
  expect(await usePlugin('schedule', new Constant())).not.toBe(await usePlugin('schedule', new Doubled()))
})

test('given fields replace a plugin of a run, with its settings', () => {
  const ofRun = {
    train: { optimizer: { kind: 'own', own: 'muon@0123456789abcdef', settings: { momentum: 0.9 }, beta1: 0.5 } },
  }
  const adamw = withoutReplaced(ofRun, { train: { optimizer: { kind: 'adamw' } } })
  expect(adamw).toEqual({ train: { optimizer: { kind: 'own', own: null, settings: {}, beta1: 0.5 } } })
  expect(withoutReplaced(ofRun, { train: { optimizer: { beta2: 0.9 } } })).toBe(ofRun)
  const routed = { model: { moe: { router: 'own', own: 'mine@0123456789abcdef', settings: { block: 8 }, k: 2 } } }
  const topK = withoutReplaced(routed, { model: { moe: { router: 'top-k' } } })
  expect(topK).toEqual({ model: { moe: { router: 'own', own: null, settings: {}, k: 2 } } })
  const same = { train: { optimizer: { kind: 'own', own: 'muon@0123456789abcdef' } } }
  expect(withoutReplaced(ofRun, same)).toBe(ofRun)
})

test('a file that is no part names every kind of part, with its article', async () => {
  await expect(loadAnyPlugin(await file('none.js', 'export default { foo: 3 }'))).rejects.toThrow(
    /expected a router with choose, .*, a schedule with rate or an optimizer with update\)/,
  )
})
