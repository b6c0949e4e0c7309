# %% tags=["setup"]
from moe_lessons.course import check, claim, claims_table, hint, predict, quiz, reveal, score, start

start("01_router")

# %%
import torch

# %% [markdown]
# {{exercise 01.router_logits}}


# %% answer="01.router_logits"
def router_logits(hidden_TD, router_ED):
    """Return the router's logits.

    hidden_TD: [T, D] hidden states, any float dtype. router_ED: [E, D] one vector per expert.
    Returns [T, E] in fp32.
    """
    ### BEGIN SOLUTION
    return hidden_TD.float() @ router_ED.float().T
    ### END SOLUTION


# %%
check("01.router_logits")

# %%
score()
