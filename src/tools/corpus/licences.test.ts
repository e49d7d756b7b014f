import { expect, test } from 'vitest'
import { licencesOf } from './licences.ts'

test('the licences of a copyright file are found by its fields, or by phrases of their texts', () => {
  const fields =
    'Format: https://www.debian.org/doc/\n\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: a\nLicense: MIT or BSD\n\nLicense: GPL-2+\n'
  expect(licencesOf(fields)).toEqual(['GPL-2+', 'MIT or BSD'])
  expect(licencesOf('under the terms of the GNU Free\nDocumentation License. Some is in the public domain.')).toEqual([
    'GFDL',
    'public-domain',
  ])
  expect(licencesOf('Do what you like.')).toEqual([])
})
