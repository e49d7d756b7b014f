import { expect, test } from 'vitest'
import { CARD_BYTES, readCard, writeCard } from './roster.ts'

test.each(['node7', '', 'höst.example', 'x'.repeat(255)])('a card keeps host and process: %s', (host) => {
  const card = new Uint8Array(CARD_BYTES)
  writeCard(card, { host, pid: 2 ** 22 })
  expect(readCard(card, 5)).toEqual({ rank: 5, host, pid: 2 ** 22 })
})

test('a card keeps the beginning of a long host name', () => {
  const card = new Uint8Array(CARD_BYTES)
  writeCard(card, { host: 'é'.repeat(300), pid: 1 })
  expect(readCard(card, 0).host).toMatch(/^é{100,}$/)
})
