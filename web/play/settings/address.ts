/**
 * Settings as text for the address, so that a link sets up the same experiment: the fields that differ from the
 * defaults, such as `router-prototype_k-2`, in characters that addresses do not escape.
 */
import {
  defaultSecond,
  defaultSetting,
  defaultShared,
  offered,
  type RouterName,
  routers,
  type Setting,
  type Shared,
  type SizeName,
  sizes,
} from './settings.ts'

/** Reads the text of a field; undefined for text that is no value of it. */
type Reader<T> = (text: string) => T | undefined
type Readers<T> = { readonly [F in keyof T]: Reader<T[F]> }

const one =
  <T extends string | number>(values: readonly T[]): Reader<T> =>
  (text) =>
    values.find((value) => String(value) === text)
const whole =
  ([least, most]: readonly [number, number]): Reader<number> =>
  (text) =>
    /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : undefined

const settingReaders: Readers<Setting> = {
  router: one(Object.keys(routers) as RouterName[]),
  k: one(offered.k),
  prototypes: one(offered.prototypes),
  capacity: one(offered.capacity),
  factor: one(offered.factor),
  balance: one(offered.balance),
}

const sharedReaders: Readers<Shared> = {
  size: one(Object.keys(sizes) as SizeName[]),
  experts: one(offered.experts),
  steps: whole(offered.steps),
  seed: whole(offered.seed),
}

/** Converts values to and from text; `fallback` is the value of the empty text. */
function codecOf<T extends object>(fallback: T, readers: Readers<T>) {
  const fields = Object.keys(readers) as (keyof T & string)[]
  return {
    fallback,
    write: (value: T): string =>
      fields
        .filter((field) => value[field] !== fallback[field])
        .map((field) => `${field}-${value[field]}`)
        .join('_'),
    read: (text: string): T | undefined => {
      const value = { ...fallback }
      for (const part of text.split('_').filter((part) => part !== '')) {
        const field = fields.find((name) => part.startsWith(`${name}-`))
        const read = field && readers[field](part.slice(field.length + 1))
        if (field === undefined || read === undefined) return undefined
        value[field] = read
      }
      return value
    },
  }
}

/** The parameters of the address: settings of the sides, and of both. */
export const inAddressOfPlay = {
  a: codecOf<Setting>(defaultSetting, settingReaders),
  b: codecOf<Setting>(defaultSecond, settingReaders),
  both: codecOf<Shared>(defaultShared, sharedReaders),
}

/** The query of the page with these settings. */
export function queryOf(a: Setting, b: Setting): string {
  const parameters = { a: inAddressOfPlay.a.write(a), b: inAddressOfPlay.b.write(b) }
  const set = Object.entries(parameters).filter(([, text]) => text !== '')
  return set.length > 0 ? `?${new URLSearchParams(set)}` : ''
}
