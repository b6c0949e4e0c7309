"""To and from Hugging Face: a trained model as a Mixtral folder, and a Mixtral folder as a run.

A folder holds `config.json`, weights in safetensors and the tokenizer's files; whatever loads Mixtral loads
it. Nothing is ever pickled or unpickled. `exporting` and `importing` do the work; `mixtral` says how the two
configurations translate, `names` how the weights do, `stored` reads and writes them a tensor at a time.
`recipes` builds the MoE layer of any other model from its config, and takes a block's weights.
"""
