/** Amounts as people write them, in options and in settings: 300M tokens, 4 GiB, a probability of 90%. */

const tokenUnits: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, B: 1e9, T: 1e12 }

export const tokensExpected = 'a number of tokens, with k, M, B or T for thousands to trillions, such as 300M'

/** A number of tokens such as 5000, 1.5M, 300B or 15T, rounded to whole tokens; undefined if it is none. */
export function parseTokens(text: string): number | undefined {
  const [, size = '', unit = ''] = /^((?:\d+(?:\.\d*)?|\.\d+)(?:e\d+)?) ?([kMBT]?)$/.exec(text.trim()) ?? []
  const value = size === '' ? Number.NaN : Math.round(Number(size) * (tokenUnits[unit] ?? Number.NaN))
  return value >= 1 && Number.isSafeInteger(value) ? value : undefined
}

const byteUnits: Readonly<Record<string, number>> = {
  ...{ '': 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 },
  ...{ kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 },
}

export const bytesExpected = 'a size such as 500MB, 4GB or 4GiB'

/** A size such as 500MB or 4GiB, in whole bytes; undefined if it is none. */
export function parseBytes(text: string): number | undefined {
  const [, size = '', unit = ''] = /^(\d+(?:\.\d*)?|\.\d+) ?([kmgt]?i?b)$/i.exec(text.trim()) ?? []
  const value = size === '' ? Number.NaN : Math.floor(Number(size) * (byteUnits[unit.toLowerCase()] ?? Number.NaN))
  return value >= 1 && Number.isSafeInteger(value) ? value : undefined
}

export const probabilityExpected = 'a probability from 0.001 to 0.999, such as 0.9 or 90%'

/** A probability such as 0.9 or 90%; undefined if it is not from 0.001 to 0.999. */
export function parseProbability(text: string): number | undefined {
  const [, size = '', sign] = /^(\d+(?:\.\d+)?|\.\d+) ?(%?)$/.exec(text.trim()) ?? []
  const value = size === '' ? Number.NaN : Number(size) / (sign === '%' ? 100 : 1)
  return value >= 0.001 && value <= 0.999 ? value : undefined
}
