import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { categorical, oppositesOf } from '../src/core/charts/palette.ts'

const css = readFileSync(new URL('theme.css', import.meta.url), 'utf8')

/** The values of a variable: light, dark. */
const coloursOf = (name: string) => /^light-dark\((.*), (.*)\)$/.exec(textOf(name))?.slice(1)
const textOf = (name: string) => new RegExp(`--${name}: (.*);`).exec(css)?.[1] ?? ''

test('pictures of the site have the colours of charts: choices are blue and teal, and refused ones vermilion', () => {
  const [light, dark] = [oppositesOf('light'), oppositesOf('dark')]
  expect(coloursOf('first')).toEqual([light[0], dark[0]])
  expect(coloursOf('refused')).toEqual([light[1], dark[1]])
  expect(coloursOf('second')).toEqual([categorical.light[2], categorical.dark[2]])
})
