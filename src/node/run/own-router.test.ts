import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { sha256 } from '../../core/sha256.ts'
import { loadConfig } from './load-config.ts'
import { expectRouter, loadRouter, useRouter } from './own-router.ts'

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

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

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
  ['broken.js', 'export default {', /cannot be loaded: .*Unexpected end of input/],
  ['broken.ts', 'const x: = 5', /is no TypeScript/],
  ['throws.js', '\nthrow new Error("my own fault")', /cannot be loaded: line 2: my own fault/],
  ['nothing.js', 'export const choose = 5', /is no router: its default export is nothing/],
  [
    'misspelt.js',
    'export default { chose() {} }',
    /is no router: unknown field chose \(accepted: name, parameters, choose/,
  ],
  ['sees.js', 'export default { choose() {}, sees: "all" }', /invalid sees: "all" \(expected "token", "past"/],
  ['name.js', 'export default { choose() {}, name: "Mine!" }', /invalid name: "Mine!"/],
  ['imports.ts', "import x from './other.ts'\nexport default x", /cannot be loaded: .*a router is one file/],
])('%s is refused, with the fault', async (name, text, message) => {
  if (text !== '') await file(name, text)
  await expect(loadRouter(join(folder, name))).rejects.toThrow(message)
})

describe('a run with a router that no command of this user has loaded', () => {
  const model = (own: string) => ({ moe: { own } }) as never

  test('is refused, and its program is not run', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'empty'))
    const run = join(folder, 'run')
    await mkdir(run, { recursive: true })
    await writeFile(join(run, 'router.ts'), 'globalThis.isOwned = true')
    await expect(expectRouter(model('strange@0123456789abcdef'), run)).rejects.toThrow(
      /router strange@.*choir check FILE/s,
    )
    expect(globalThis).not.toHaveProperty('isOwned')
  })

  test('is refused if the kept program is not the one that its hash names', async () => {
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'changed'))
    const kept = join(folder, 'changed', 'choir', 'routers')
    await mkdir(kept, { recursive: true })
    await writeFile(join(kept, 'strange@0123456789abcdef.ts'), plain)
    await expect(expectRouter(model('strange@0123456789abcdef'), 'run')).rejects.toThrow(/was changed/)
  })
})

test('a router in code is known by its functions: another function is another router', async () => {
  const one = await useRouter({ name: 'mine', choose: () => ({}) as never })
  expect(one).toMatch(/^mine@[0-9a-f]{16}$/)
  expect(await useRouter({ name: 'mine', choose: () => ({}) as never })).toBe(one)
  expect(await useRouter({ name: 'mine', choose: () => ({ x: 1 }) as never })).not.toBe(one)
  await expect(useRouter({ name: 'mine' } as never)).rejects.toThrow(/invalid router: invalid choose/)
})
