// Trains a small sparse model on the text in the page, in a worker, on the GPU of this machine.
import { defineConfig, type OpenedTraining, TrainingWorker } from 'choir/web'

const element = <E extends Element>(id: string): E => document.querySelector(`#${id}`) as unknown as E
const [train, resume, pause, write, download] = ['train', 'resume', 'pause', 'write', 'export'].map(
  element<HTMLButtonElement>,
)
const text = element<HTMLTextAreaElement>('text')
const config = element<HTMLTextAreaElement>('config')
const status = element<HTMLElement>('status')
const written = element<HTMLElement>('written')
const losses: number[] = []

text.value ||=
  'Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little. '.repeat(40)
config.value ||= JSON.stringify({ preset: 'tiny', train: { steps: 300 } })

const worker = new TrainingWorker(new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }), (event) => {
  if (event.kind === 'step') {
    const { step, loss } = event.record
    losses.push(loss)
    status.textContent = `step ${step}, loss ${loss.toFixed(3)}`
    drawCurve()
  } else if ('message' in event) status.textContent = event.message
})

function drawCurve(): void {
  const most = Math.max(...losses)
  const points = losses.map((loss, i) => `${(100 * i) / Math.max(1, losses.length - 1)},${100 - (100 * loss) / most}`)
  element('curve').setAttribute('points', points.join(' '))
}

/** Runs the action of a button when it is clicked, and shows the error if the action fails. */
function on(button: HTMLButtonElement | undefined, action: () => Promise<void>): void {
  button?.addEventListener('click', () => {
    action().catch((error: Error) => {
      status.textContent = error.message
    })
  })
}

/** Name of the run in the storage of this browser. */
const store = 'web-training'
let opened: OpenedTraining | null = null

async function run(): Promise<void> {
  for (const button of [pause, write, download]) button?.removeAttribute('disabled')
  const steps = await worker.run()
  status.textContent = `trained ${steps} steps, loss ${losses.at(-1)?.toFixed(3)}`
}

on(train, async () => {
  opened ??= await worker.open({
    config: defineConfig(JSON.parse(config.value)),
    text: { name: 'page.txt', content: text.value },
    store,
  })
  status.textContent = `${opened.parameters} parameters on ${opened.provider}`
  await run()
})

on(resume, async () => {
  opened ??= await worker.resume({ store })
  if (!opened) throw new Error('no run is stored in this browser')
  for (const record of opened.metrics) if (record.kind === 'train') losses.push(record.loss)
  status.textContent = `continues from step ${opened.steps} on ${opened.provider}`
  drawCurve()
  await run()
})

on(pause, () => worker.pause())

on(write, async () => {
  written.textContent = ''
  for await (const piece of worker.generate('Call me', { tokens: 40 })) written.append(piece)
})

on(download, async () => {
  const zip = await worker.export()
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([zip as BlobPart], { type: 'application/zip' }))
  link.download = 'run.zip'
  link.click()
})
