/**
 * Expected texts are those of Jinja 3.1 in Python, the engine of transformers, for the same templates. The formats of
 * Llama 2 and of Mixtral are documented by their authors too.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { expectMessages, renderChat } from './render.ts'
import { chatMl, llama2, mixtralTemplate } from './testing/templates.ts'

const system = { role: 'system', content: 'Answer in one word.' }
const chat = [
  { role: 'user', content: 'Hello, how are you?' },
  { role: 'assistant', content: "I'm doing great. How can I help you today?" },
  { role: 'user', content: "I'd like to show off how chat templating works!" },
]

const render = (chatTemplate: string, messages: typeof chat, patience = 10) => {
  const specialTokens = { bos_token: '<s>', eos_token: '</s>' }
  return renderChat({ begin: null, end: [0], specialTokens, chatTemplate }, messages, 'runs/chat', { patience })
}

describe('the template of', () => {
  test('ChatML puts every message between tokens, and opens the answer', async () => {
    expect(await render(chatMl, [system, ...chat])).toBe(
      '<|im_start|>system\nAnswer in one word.<|im_end|>\n<|im_start|>user\nHello, how are you?<|im_end|>\n' +
        "<|im_start|>assistant\nI'm doing great. How can I help you today?<|im_end|>\n" +
        "<|im_start|>user\nI'd like to show off how chat templating works!<|im_end|>\n<|im_start|>assistant\n",
    )
  })

  test('Llama 2 puts the system message into the first message of the user', async () => {
    expect(await render(llama2, [system, ...chat])).toBe(
      '<s>[INST] <<SYS>>\nAnswer in one word.\n<</SYS>>\n\nHello, how are you? [/INST] ' +
        "I'm doing great. How can I help you today? </s><s>[INST] I'd like to show off how chat templating works! [/INST]",
    )
  })

  test('Mixtral puts messages of the user between [INST] and [/INST], and refuses a system message', async () => {
    expect(await render(mixtralTemplate, chat)).toBe(
      "<s>[INST] Hello, how are you? [/INST]I'm doing great. How can I help you today?</s>" +
        "[INST] I'd like to show off how chat templating works! [/INST]",
    )
    await expect(render(mixtralTemplate, [system, ...chat])).rejects.toThrow(
      'the chat template of "runs/chat" refuses these messages: Conversation roles must alternate user/assistant/',
    )
  })
})

describe('a hostile template', () => {
  test('that does not end is stopped', async () => {
    const nested = '{% for i in range(30000) %}{% for j in range(30000) %}{% endfor %}{% endfor %}'
    await expect(render(nested, chat, 2)).rejects.toThrow(
      'the chat template of "runs/chat" has not ended after 2 s (change chatTemplate in its generation.json)',
    )
  })

  test('that fills the memory is stopped, without an end of the process', async () => {
    await expect(render('{% for i in range(1000000000) %}{% endfor %}', chat, 60)).rejects.toThrow(
      'needs more than 256 MiB of memory',
    )
  })

  test.each([
    ['a text of 268 million characters', 28, /its text has 268,435,456 characters \(expected at most 4,194,304\)/],
    ['a longer text than JavaScript holds', 40, /Invalid string length/],
  ])('that makes %s is refused', async (_, doublings, message) => {
    const doubling = `{% set ns = namespace(s="a") %}{% for i in range(${doublings}) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`
    await expect(render(doubling, chat)).rejects.toThrow(message)
  })

  test('reaches no program, and a damaged one is refused', async () => {
    const reach = "{{ messages.constructor.constructor('return process')() }}"
    await expect(render(reach, chat)).rejects.toThrow(/Cannot call something that is not a function/)
    await expect(render('{{ messages', chat)).rejects.toThrow(/refuses these messages: /)
    await expect(render(`{{ ${'('.repeat(50_000)} }}`, chat)).rejects.toThrow(/call stack/)
  })
})

test('messages of a wrong form are refused with the message and what is expected', () => {
  const expected = /\(expected .*\{ role: 'user', content: 'Hello' \}\)/
  for (const messages of [[], {}, null, [null], ['Hi'], [{ role: 'user' }], [{ role: '', content: 'Hi' }]])
    expect(() => expectMessages(messages)).toThrow(expected)
  expect(() => expectMessages([chat[0], { role: 'user', content: 'Hi', name: 'x' }])).toThrow(
    /^invalid messages\[1\]: /,
  )
  expectMessages(chat)
})
