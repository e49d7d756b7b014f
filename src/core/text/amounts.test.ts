import { expect, test } from 'vitest'
import { parseBytes, parseProbability, parseTokens } from './amounts.ts'

test.each([
  ['5000', 5000],
  ['1.5M', 1.5e6],
  ['300B', 300e9],
  ['15T', 15e12],
  [' 2 k', 2000],
  ['1e9', 1e9],
  ['0.4', undefined],
  ['0', undefined],
  ['-3M', undefined],
  ['15t', undefined],
  ['3 tokens', undefined],
  ['1.2.3M', undefined],
  ['99999T', undefined],
  ['', undefined],
])('%j as tokens is %j', (text, tokens) => {
  expect(parseTokens(text)).toBe(tokens)
})

test.each([
  ['500MB', 500e6],
  ['1.5 GiB', 1.5 * 2 ** 30],
  ['4gb', 4e9],
  ['64KiB', 65_536],
  ['2TiB', 2 ** 41],
  ['100', undefined],
  ['4G', undefined],
  ['1ib', undefined],
  ['0GB', undefined],
  ['-1GB', undefined],
  ['1.2.3GB', undefined],
  ['9999999TB', undefined],
  ['', undefined],
])('%j as a size is %j', (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes)
})

test.each([
  ['0.9', 0.9],
  ['90%', 0.9],
  ['90 %', 0.9],
  ['.5', 0.5],
  ['0', undefined],
  ['1', undefined],
  ['100%', undefined],
  ['90', undefined],
  ['-1%', undefined],
  ['likely', undefined],
])('%j as a probability is %j', (text, probability) => {
  expect(parseProbability(text)).toBe(probability)
})
