import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../node/data/testing/temporary-folder.ts'
import type { RecordedRouter, RoutedToken } from '../../node/routes/format.ts'
import { madeRouter, writeMade } from '../../node/routes/testing/made-record.ts'
import { compareRoutes } from './compare.ts'

const { make } = temporaryFolder()
const routers = [madeRouter({ choices: 2 }), madeRouter({ layer: 1 })]

/** A hundred tokens in ten documents; `change` gives the experts of the first router of a token, and its gates. */
const tokensWith = (change: (i: number) => { experts?: readonly number[]; gates?: readonly number[] } = () => ({})) =>
  Array.from({ length: 100 }, (_, i): RoutedToken => {
    const first = { experts: [i % 4, (i + 1) % 4], gates: [0.5, 0.25], entropy: 1, dropped: [], ...change(i) }
    const second = { experts: [i % 4], gates: [1], entropy: 1, dropped: [] }
    return { document: i % 10, position: Math.floor(i / 10), token: i, text: 'a', routes: [first, second] }
  })

async function compared(
  first: readonly RoutedToken[],
  second: readonly RoutedToken[],
  others: readonly RecordedRouter[] = routers,
) {
  const root = make()
  const a = await writeMade(join(root, 'a'), { routers, tokens: first })
  const b = await writeMade(join(root, 'b'), { routers: others, tokens: second }, 'parquet')
  return compareRoutes(a, b)
}

test('a record agrees with itself, in any order of its tokens and of the experts of a token', async () => {
  const other = tokensWith((i) => ({ experts: [(i + 1) % 4, i % 4], gates: [0.25, 0.5] })).reverse()
  expect(await compared(tokensWith(), other)).toMatchObject({
    ...{ tokens: 100, only_first: 0, only_second: 0, same: 1 },
    routers: [
      { layer: 0, same: 1, common: 1, gate_difference: 0, interval: [1, 1] },
      { layer: 1, same: 1, common: 1 },
    ],
  })
})

test('differences are counted by router', async () => {
  // Every fifth token has another second expert, and every tenth another gate.
  const other = tokensWith((i) =>
    i % 5 === 0 ? { experts: [i % 4, (i + 2) % 4] } : i % 10 === 1 ? { gates: [0.5, 0.375] } : {},
  )
  const { same, routers } = await compared(tokensWith(), other)
  expect(routers).toMatchObject([
    { layer: 0, same: 0.8, common: 0.9, gate_difference: 0.125 },
    { layer: 1, same: 1, common: 1, gate_difference: 0 },
  ])
  expect(same).toBeCloseTo(0.9, 12)
})

test('tokens that only one record has are counted apart', async () => {
  const { tokens, only_first, only_second, same } = await compared(tokensWith().slice(10), tokensWith().slice(0, 95))
  expect([tokens, only_first, only_second, same]).toEqual([85, 5, 10, 1])
})

test('records of other texts or routers are refused', async () => {
  const moved = tokensWith().map((token) => ({ ...token, token: token.token + 1 }))
  await expect(compared(tokensWith(), moved)).rejects.toThrow(
    /document 0 has token 0 at position 0 in one and 1 in the other \(expected records of the same text\)/,
  )
  const larger = [madeRouter({ choices: 2, experts: 8 }), madeRouter({ layer: 1 })]
  await expect(compared(tokensWith(), tokensWith(), larger)).rejects.toThrow(
    /router 1 is of layer 0, ffn, 4 experts in one and of layer 0, ffn, 8 experts in the other/,
  )
  const elsewhere = tokensWith().map((token) => ({ ...token, document: token.document + 50 }))
  await expect(compared(tokensWith(), elsewhere)).rejects.toThrow(/have no token in common/)
})
