// Tensors and gradients, without a model: fits y = w·x to three points.
import { createRuntime, gradient, input, mean, multiply, square, subtract } from 'choir/graph'

const [w, x, y] = [input('w', 'float32', [1]), input('x', 'float32', [3]), input('y', 'float32', [3])]
const loss = mean(square(subtract(multiply(w, x), y)))
const [dw] = gradient(loss, [w])
if (!dw) throw new Error('w has no gradient')

const runtime = await createRuntime({ threads: 1 })
const program = await runtime.compile({ outputs: { loss, dw } })
const memory = {
  w: Float32Array.of(0),
  x: Float32Array.of(1, 2, 3),
  y: Float32Array.of(2, 4, 6),
  loss: new Float32Array(1),
  dw: new Float32Array(1),
}
const binding = program.bind(memory)
for (let step = 0; step < 50; step++) {
  await binding.run()
  memory.w[0] = (memory.w[0] ?? 0) - 0.05 * (memory.dw[0] ?? 0)
}
console.log(`w ${memory.w[0]?.toFixed(3)}`)
await runtime.close()
