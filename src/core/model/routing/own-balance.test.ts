import { expect, test } from 'vitest'
import { runSchema } from '../../config/run-config.ts'
import { mean } from '../../graph/ops/reduction.ts'
import { input } from '../../graph/tensor.ts'
import { modelSchema } from '../config.ts'
import type { Choice } from './contract.ts'
import { routerLosses } from './losses.ts'
import { ownBalances } from './own-balance.ts'

const own = 'test@aaaaaaaaaaaaaaaa'
const loss = mean(input('marked', 'float32', [3]))
ownBalances.register(own, { name: 'test', loss: () => loss })

const { moe } = modelSchema.parse({ moe: { experts: 4, balance: { form: 'own', own } } })
if (!moe) throw new Error('no experts')
const [scores, chosen] = [input('scores', 'float32', [6, 1, 4]), input('expert', 'int32', [6, 1])]
const choice: Choice = { expert_TK: chosen, gate_TK: input('gate', 'float32', [6, 1]) }
const placement = {
  position_TK: chosen,
  count_GN: input('count', 'int32', [1, 4]),
  kept_GN: input('kept', 'int32', [1, 4]),
  capacity: null,
}
const scalar = (name: string) => input(name, 'float32', [])
const losses = { balance: scalar('balance'), z: scalar('z'), entropy: scalar('entropy') }
const distribution = { logits_TZN: scores, probability_TZN: scores }

test('it takes the place of the balancing loss, also of the loss of a router of the own, whose other losses stay', () => {
  expect(routerLosses(moe, { ...choice, ...distribution }, placement)?.balance).toBe(loss)
  const found = routerLosses(moe, { ...choice, ...distribution, losses }, placement)
  expect(found).toEqual({ ...losses, balance: loss })
})

test('a router without a distribution has nothing to balance, and is refused by name', () => {
  expect(() => routerLosses(moe, { ...choice, losses }, placement)).toThrow(
    /^balancing loss test: the router top-k returns no logits and distribution/,
  )
})

test.each([
  [
    { router: 'hash' },
    ['model.moe.balance.form', 'must be built in: the router "hash" has no distribution to balance'],
  ],
  [{ router: 'expert-choice' }, ['model.moe.balance.form', 'must be "switch": every expert takes as many tokens']],
  [
    { balance: { form: 'own' } },
    ['model.moe.balance.form', 'must be the path of the file of your loss, such as ./my-loss.ts'],
  ],
  [{ balance: { own } }, ['model.moe.balance.own', 'must be null unless balance.form is "own"']],
])('%o is refused', (settings, problem) => {
  const found = runSchema.safeParse({ model: { moe: { balance: { form: 'own', own }, ...settings } } })
  expect(found.error?.issues.map(({ path, message }) => [path.join('.'), message])).toEqual([problem])
})
