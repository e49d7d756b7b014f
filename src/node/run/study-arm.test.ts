import fc from 'fast-check'
import { expect, test } from 'vitest'
import { armIn, folderOfRun, runOfFolder } from './study-arm.ts'

const key = fc.stringMatching(/^[0-9a-f]{16}(-trial)?$/)

test('the folder name of a run, or of its copy, has the seed and a short form of the arm', () => {
  expect(runOfFolder(folderOfRun({ arm: 'Hash routing (fixed), k=2', seed: 12, key: '2ba4cd1000000000' }))).toEqual({
    arm: 'hash-routing-fixed-k=2',
    seed: 12,
  })
  expect(runOfFolder('top-1-seed-3-2ba4cd10-2')).toEqual({ arm: 'top-1', seed: 3 })
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z][a-z0-9=]{0,20}$/), fc.nat(), key, (arm, seed, key) => {
      expect(runOfFolder(folderOfRun({ arm, seed, key }))).toEqual({ arm, seed })
    }),
  )
})

test.each(['top-1', 'top-1-seed-3', 'top-1-seed-3-notahash', 'seed-1-2ba4cd10', ''])(
  'other folder names are not taken for runs of a study: %s',
  (name) => expect(runOfFolder(name)).toBeNull(),
)

test.each(['', '{', '[]', 'null', '{"arm":3}', '{"arm":""}'])('no arm is found in %s', (text) =>
  expect(armIn(text)).toBeNull(),
)
