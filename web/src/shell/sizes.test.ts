import { beforeEach, expect, test, vi } from 'vitest'

const stored = new Map<string, string>()
vi.stubGlobal('localStorage', {
  getItem: (key: string) => stored.get(key) ?? null,
  setItem: (key: string, value: string) => stored.set(key, value),
})
const { resetSize, resize, sizes, sizesIn } = await import('./sizes.ts')

beforeEach(() => {
  sizes.value = {}
})

test('a size is stored, and forgotten when it is reset', () => {
  resize('card', 300)
  resize('column loss', 80)
  expect(sizesIn([...stored.values()].join())).toEqual({ card: 300, 'column loss': 80 })
  resetSize('card')
  expect(sizesIn([...stored.values()].join())).toEqual({ 'column loss': 80 })
})

test.each([null, '', '{', '3', 'null', '[]', '{"a":"x","b":null,"c":-3,"d":1e9,"e":{}}'])(
  'no size is found in %s',
  (text) => expect(sizesIn(text)).toEqual({}),
)
