"""vLLM without ReLook: `plain_vllm.py MODEL IDS` prints the log-prob of each id after the first."""

import json
import os
import sys


def main() -> None:
    """Reads the ids as JSON; prints their log-probs as JSON in the last line."""
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    ids = json.loads(sys.argv[2])
    model = LLM(sys.argv[1], dtype="float32", enforce_eager=True, max_model_len=256, max_num_seqs=1)
    wanted = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0)
    (answer,) = model.generate([TokensPrompt(prompt_token_ids=ids)], wanted, use_tqdm=False)
    told = answer.prompt_logprobs or []
    said = [entry[token].logprob for entry, token in zip(told[1:], ids[1:], strict=True) if entry]
    print(json.dumps(said), flush=True)
    os._exit(0)  # vLLM's threads outlive the interpreter and sometimes abort the process at exit


if __name__ == "__main__":
    main()
