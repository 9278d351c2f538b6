"""The official `openai` client against a running server.

    FASTSERVE_URL=http://127.0.0.1:8000 python -m unittest -v test_openai
"""

import asyncio
import os
import time
import unittest
import urllib.request

import openai

URL = os.environ["FASTSERVE_URL"]
QUESTION = [{"role": "user", "content": "What does `std::vec::Vec::push` do?"}]


def blocks_in_use():
    with urllib.request.urlopen(f"{URL}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("fastserve_kv_blocks_in_use "):
                return float(line.split()[1])
    raise AssertionError("no fastserve_kv_blocks_in_use")


class Sync(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client = openai.OpenAI(base_url=f"{URL}/v1", api_key="unused", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    def chat(self, **options):
        options = {"model": self.model, "messages": QUESTION, "temperature": 0, "max_tokens": 40} | options
        return self.client.chat.completions.create(**options)

    def complete(self, **options):
        options = {"model": self.model, "prompt": "A vector is", "temperature": 0, "max_tokens": 12} | options
        return self.client.completions.create(**options)

    def test_models(self):
        self.assertEqual(self.client.models.retrieve(self.model).id, self.model)
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-17")

    def test_chat_streamed_equals_whole(self):
        whole = self.chat()
        self.assertIn(whole.choices[0].finish_reason, ("stop", "length"))
        self.assertTrue(whole.choices[0].message.content)
        self.assertEqual(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens)
        chunks = list(self.chat(stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, whole.usage.completion_tokens)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")

    def test_completion_streamed_equals_whole(self):
        whole = self.complete()
        text = "".join(chunk.choices[0].text for chunk in self.complete(stream=True))
        self.assertEqual(text, whole.choices[0].text)

    def test_choices_and_seed(self):
        # Free text: of a question that it knows, the model is sure at any temperature.
        draw = lambda n: [choice.text for choice in self.complete(n=n, temperature=1.5, seed=7, max_tokens=20).choices]
        several = draw(3)
        self.assertEqual(len(several), 3)
        self.assertEqual(several, draw(3))
        self.assertEqual(several[:1], draw(1))
        self.assertEqual(len(set(several)), 3)

    def test_stop_string(self):
        text = self.complete(max_tokens=40).choices[0].text
        stop = text[len(text) // 2:][:3]
        stopped = self.complete(max_tokens=40, stop=[stop]).choices[0]
        self.assertEqual(stopped.text, text[: text.index(stop)])
        self.assertEqual(stopped.finish_reason, "stop")

    def test_logprobs(self):
        content = self.chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
        for token in content:
            self.assertLessEqual(token.logprob, 0)
            self.assertEqual(len(token.top_logprobs), 3)
            self.assertAlmostEqual(token.logprob, token.top_logprobs[0].logprob, places=5)
        with self.assertRaises(openai.BadRequestError):
            self.chat(top_logprobs=3)

    def test_echo_scores_the_prompt(self):
        generated = self.complete(logprobs=0).choices[0]
        echoed = self.complete(prompt="A vector is" + generated.text, echo=True, logprobs=0, max_tokens=1).choices[0]
        self.assertTrue(echoed.text.startswith("A vector is" + generated.text))
        self.assertIsNone(echoed.logprobs.token_logprobs[0])
        self.assertTrue(all(logprob <= 0 for logprob in echoed.logprobs.token_logprobs[1:]))
        scored = self.complete(prompt="A vector is" + generated.text, echo=True, logprobs=0, max_tokens=0)
        self.assertEqual(scored.choices[0].logprobs.token_logprobs, echoed.logprobs.token_logprobs[:-1])
        self.assertEqual(scored.usage.completion_tokens, 0)

    def test_bias_and_penalties(self):
        first = self.client.post("/tokenize".replace("/", "../", 1), cast_to=object,
                                 body={"model": self.model, "prompt": "A", "add_special_tokens": False})["tokens"][0]
        biased = self.complete(max_tokens=3, logit_bias={str(first): 100})
        self.assertEqual(biased.choices[0].text, "AAA")
        self.assertNotEqual(self.complete(max_tokens=3, logit_bias={str(first): 100}, presence_penalty=2,
                                          frequency_penalty=2, extra_body={"repetition_penalty": 1e9}).choices[0].text, "AAA")

    def test_errors(self):
        for error, options in [
            (openai.NotFoundError, {"model": "gpt-17"}),
            (openai.BadRequestError, {"max_tokens": -1}),
            (openai.BadRequestError, {"temperature": 3}),
            (openai.BadRequestError, {"messages": []}),
            (openai.BadRequestError, {"messages": [{"role": "user", "content": "long " * 5000}]}),
        ]:
            with self.subTest(options=list(options)), self.assertRaises(error) as raised:
                self.chat(**options)
            self.assertIn("message", raised.exception.body)
        self.assertTrue(self.chat(max_tokens=1).choices)

    def test_a_closed_stream_frees_its_blocks(self):
        stream = self.complete(max_tokens=900, stream=True, extra_body={"ignore_eos": True})
        for _ in range(3):
            next(iter(stream))
        self.assertGreater(blocks_in_use(), 0)
        stream.close()
        deadline = time.time() + 5
        while blocks_in_use() > 0:
            self.assertLess(time.time(), deadline, "blocks are still in use")
            time.sleep(0.01)


class Concurrent(unittest.IsolatedAsyncioTestCase):
    async def test_streams_do_not_disturb_each_other(self):
        asyncio.get_running_loop().set_debug(False)
        client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="unused", max_retries=0)
        model = (await client.models.list()).data[0].id

        async def ask(index):
            prompt = f"Item {index} of the list is"
            stream = await client.completions.create(model=model, prompt=prompt, temperature=0, max_tokens=24, stream=True)
            return "".join([chunk.choices[0].text async for chunk in stream])

        alone = [await ask(index) for index in range(8)]
        together = await asyncio.gather(*(ask(index % 8) for index in range(32)))
        self.assertEqual(together, alone * 4)


if __name__ == "__main__":
    unittest.main()
