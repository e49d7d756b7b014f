// Trains a small sparse model, lets it write, and shows which experts its tokens go to.
import { defineConfig, plan, Run, train } from 'choir'

const config = defineConfig({
  preset: 'tiny',
  model: { moe: { experts: 4, k: 1 } },
  train: { steps: 100 },
})

const directory = process.argv[2] ?? 'runs/first'
const summary = await train(config, {
  directory,
  onEvent(event) {
    if (event.kind === 'train' && event.step % 20 === 0)
      console.log(`step ${event.step}  loss ${event.loss.toFixed(3)}  dropped ${event.drop_rate.toFixed(3)}`)
  },
})
console.log(`trained ${summary.step} steps at ${Math.round(summary.tokensPerSecond ?? 0)} tokens a second`)

const run = await Run.load(directory)
try {
  const { loss, bits_per_byte } = await run.evaluate()
  console.log(`held-out loss ${loss.toFixed(3)} nats a token, ${bits_per_byte.toFixed(3)} bits per byte`)

  let text = ''
  for await (const piece of run.generate('The people', { tokens: 40, seed: 1 })) text += piece
  console.log(`The people${text}`)

  const { tokens, routers } = await run.routing('The people of the United States')
  const [first] = routers
  if (first) console.log(tokens.map((token, t) => `${token.trim()}→${first.expert[t * first.choices]}`).join('  '))
} finally {
  await run.close()
}

const { best } = await plan('m6t-1t', 'v100-480')
console.log(`a trillion parameters on 480 V100: ${best[0]?.time.stepSeconds.toFixed(2)} s a step`)
