import { expect, test } from 'vitest'
import { defineConfig } from '../../../src/faces/library/web.ts'
import { lessons, settingOf } from '../lessons.ts'
import { configOf, defaultSetting, defaultShared, describe, fitting, routers, type Setting, sizes } from './settings.ts'

/** Every choice that the controls offer. */
function* choices(): Generator<{ setting: Setting; experts: number }> {
  for (const experts of [4, 8, 16, 32])
    for (const router of Object.keys(routers) as (keyof typeof routers)[])
      for (const prototypes of [1, 2, 4])
        for (const k of [1, 2, 4])
          for (const capacity of ['kx', '1x', 'none'] as const)
            yield { setting: fitting({ ...defaultSetting, router, prototypes, k, capacity }, experts), experts }
}

test('every choice of the controls is a valid configuration', () => {
  let count = 0
  for (const { setting, experts } of choices()) {
    const config = defineConfig(configOf(setting, { ...defaultShared, experts }))
    expect(config.model.moe?.router ?? 'dense').toBe(setting.router)
    count++
  }
  expect(count).toBe(4 * 8 * 3 * 3 * 3)
})

test('every size and lesson is a valid configuration, and the sides of a lesson differ only in their experts', () => {
  for (const size of Object.keys(sizes) as (keyof typeof sizes)[])
    expect(defineConfig(configOf(defaultSetting, { ...defaultShared, size })).model.width).toBe(sizes[size].model.width)
  for (const { title, a, b } of lessons) {
    const [first, second] = [settingOf(a), settingOf(b)].map((setting) =>
      defineConfig(configOf(setting, defaultShared)),
    )
    expect(first?.model.moe, title).not.toEqual(second?.model.moe)
    const shared = [first, second].map((config) => ({ ...config, model: { ...config?.model, moe: null } }))
    expect(shared[0], title).toEqual(shared[1])
  }
})

test('settings that a router does not use do not reach its configuration', () => {
  const { moe } = defineConfig(configOf({ ...defaultSetting, router: 'hash', balance: 1 }, defaultShared)).model
  expect(moe).toMatchObject({ prototypes: 1, balance: { coefficient: 0 } })
})

test('a setting is described in one line', () => {
  expect(describe(defaultSetting)).toBe('top-1, capacity kx × 1.25, balancing 0.01')
  expect(describe({ ...defaultSetting, router: 'prototype', capacity: 'none' })).toBe(
    '2 top-1, no capacity limit, balancing 0.01',
  )
  expect(describe({ ...defaultSetting, router: 'dense' })).toBe('dense')
})
